from django.core.validators import MinValueValidator
from django.db import models
from django.urls import reverse
from django.utils.text import slugify

from django_latentimg.fields import LatentImageField


class Product(models.Model):
    """A print for sale."""

    title = models.CharField(max_length=80)
    description = models.TextField(max_length=600, blank=True)
    price = models.DecimalField(
        "price in euros", max_digits=7, decimal_places=2, validators=[MinValueValidator(1)]
    )
    credit = models.CharField("photographer", max_length=160, blank=True)

    photo = LatentImageField(
        "photograph",
        upload_to="photos/",
        width_field="photo_width",
        height_field="photo_height",
        placeholder_field="photo_placeholder",
    )
    photo_width = models.PositiveIntegerField(null=True, editable=False)
    photo_height = models.PositiveIntegerField(null=True, editable=False)
    photo_placeholder = models.TextField(default="", editable=False)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        slug = slugify(self.title) or "print"
        return reverse("shop:product", kwargs={"pk": self.pk, "slug": slug})
