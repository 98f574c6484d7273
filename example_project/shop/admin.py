from django.contrib import admin

from .models import Product


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("title", "price", "credit", "is_latent")
    search_fields = ("title", "description", "credit")

    @admin.display(boolean=True, description="compressed")
    def is_latent(self, product: Product) -> bool:
        return product.photo.is_latent
