from django.contrib import admin

from django_latentimg.admin import thumbnail

from .models import Product


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = (thumbnail("photo"), "title", "price", "credit", "is_latent")
    list_display_links = ("title",)
    search_fields = ("title", "description", "credit")

    @admin.display(boolean=True, description="compressed")
    def is_latent(self, product: Product) -> bool:
        return product.photo.is_latent
