from django.db import models
from django.http import HttpRequest

from django_latentimg.fields import LatentImageField


class Product(models.Model):
    """Every companion column."""

    title = models.CharField(max_length=50, blank=True)
    photo = LatentImageField(
        upload_to="photos/",
        blank=True,
        width_field="photo_width",
        height_field="photo_height",
        placeholder_field="photo_placeholder",
    )
    photo_width = models.PositiveIntegerField(null=True, editable=False)
    photo_height = models.PositiveIntegerField(null=True, editable=False)
    photo_placeholder = models.TextField(blank=True, editable=False)

    def __str__(self) -> str:
        return self.title


class Snapshot(models.Model):
    """No companion column, and the source is not kept."""

    photo = LatentImageField(
        upload_to="snaps/", keep_source=False, widths=(100, 200), formats=("webp", "jpeg")
    )

    def __str__(self) -> str:
        return str(self.photo)


class Label(models.Model):
    """Print that must stay as it is, and an editor who says where."""

    photo = LatentImageField(
        upload_to="labels/", prefer="fidelity", min_quality=30, focal_field="print"
    )
    print = models.JSONField(default=list, blank=True)

    def __str__(self) -> str:
        return str(self.photo)


class Portrait(models.Model):
    """Shown in parts, and told in words."""

    photo = LatentImageField(
        upload_to="portraits/",
        widths=(100, 200, 400),
        formats=("webp", "jpeg"),
        ratios=("1/1", "16/9"),
        focus_field="focus",
        alt_field="words",
    )
    focus = models.JSONField(null=True, blank=True)
    words = models.CharField(max_length=200, blank=True)

    def __str__(self) -> str:
        return self.words


def may_see(request: HttpRequest, field: LatentImageField, name: str) -> bool:
    """Who says so in a cookie; a site would look at the user and the row."""
    return request.COOKIES.get("key") == "right"


class Passport(models.Model):
    """Seen by whoever may, for a while."""

    photo = LatentImageField(
        upload_to="passports/", widths=(100,), formats=("webp",), expires=600, permission=may_see
    )

    def __str__(self) -> str:
        return str(self.photo)


class Invoice(models.Model):
    """Seen by whoever has the URL, for a while."""

    photo = LatentImageField(upload_to="invoices/", widths=(100,), formats=("webp",), expires=600)

    def __str__(self) -> str:
        return str(self.photo)


class FramedSnapshot(Snapshot):
    """Multi-table inheritance."""

    frame = models.CharField(max_length=50)


class Poster(models.Model):
    """An ordinary column whose files lie beside those of ``Product``."""

    image = models.ImageField(upload_to="photos/")

    def __str__(self) -> str:
        return str(self.image)
