"""A site that has moved in: its migrations begin with an ``ImageField``."""

from django.db import models

from django_latentimg.fields import LatentImageField


class Page(models.Model):
    title = models.CharField(max_length=50, blank=True)
    photo = LatentImageField(
        upload_to="pages/",
        width_field="photo_width",
        height_field="photo_height",
        placeholder_field="photo_placeholder",
    )
    photo_width = models.PositiveIntegerField(null=True, editable=False)
    photo_height = models.PositiveIntegerField(null=True, editable=False)
    photo_placeholder = models.TextField(blank=True, editable=False, db_default="")
