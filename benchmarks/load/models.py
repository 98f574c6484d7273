from django.db import models

from django_latentimg.fields import LatentImageField


class Photo(models.Model):
    image = LatentImageField(
        upload_to="photos/",
        width_field="width",
        height_field="height",
        placeholder_field="placeholder",
        widths=(160, 320, 640),
    )
    width = models.PositiveIntegerField(null=True, editable=False)
    height = models.PositiveIntegerField(null=True, editable=False)
    placeholder = models.TextField(blank=True, editable=False)

    class Meta:
        app_label = "load"

    def __str__(self) -> str:
        return str(self.image)
