"""Stored names to signed URLs and back, without a query or a storage call.

The first part of a URL names the field, whose widths and formats the view then allows, and signs
that together with the stored name: nobody can ask for a file that no page has shown.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.core.signing import Signer
from django.urls import reverse

from .conf import conf
from .crops import Crop

if TYPE_CHECKING:
    from .fields import LatentImageField

FORMATS = {"avif": "image/avif", "webp": "image/webp", "jpeg": "image/jpeg"}
"""Media type of each rendition format; the format is also the URL's extension."""

BLOB_TYPE = "image/vnd.latentimg"
"""Media type of a blob."""

LATENTS_TYPE = "application/vnd.safetensors"
"""Media type of a blob's latents in a safetensors file."""

BLOB, LATENTS = "limg", "safetensors"
"""Extensions of both."""

MEDIA_TYPES = {**FORMATS, BLOB: BLOB_TYPE, LATENTS: LATENTS_TYPE}


def label(field: "LatentImageField") -> str:
    """``shop.product.photo``."""
    return f"{field.model._meta.label_lower}.{field.name}"


def find_field(label: str) -> "LatentImageField | None":
    """The field ``app.model.field``; None where a later release has dropped or changed it."""
    from .fields import LatentImageField

    model, _, name = label.rpartition(".")
    try:
        field = apps.get_model(model)._meta.get_field(name)
    except (LookupError, ValueError, FieldDoesNotExist):
        return None
    return field if isinstance(field, LatentImageField) else None


def _signer(name: str) -> Signer:
    return Signer(salt=f"django_latentimg:{name}")


class Signed(NamedTuple):
    """What the first part of a URL vouches for: ``shop.product.photo@30,50!1764000000``."""

    label: str
    """Of the field."""
    focus: tuple[int, int] | None = None
    """Of parts of the picture; percent."""
    expires: int | None = None
    """Of private fields; seconds since 1970."""

    def __str__(self) -> str:
        focus = "@{},{}".format(*self.focus) if self.focus else ""
        return f"{self.label}{focus}{f'!{self.expires}' if self.expires else ''}"

    @classmethod
    def parse(cls, text: str) -> "Signed":
        text, _, expires = text.partition("!")
        label, _, focus = text.partition("@")
        x, _, y = focus.partition(",")
        return cls(label, (int(x), int(y)) if focus else None, int(expires) if expires else None)


def unsign(signature: str, name: str) -> Signed:
    """Raises ``BadSignature`` unless signed for the stored name ``name``."""
    return Signed.parse(_signer(name).unsign(signature))


class PictureUrl(NamedTuple):
    """URLs of all renditions of one picture, signed once."""

    before_width: str
    after_width: str

    @classmethod
    def sign(
        cls, field_label: str, name: str, crop: Crop | None = None, expires: int | None = None
    ) -> "PictureUrl":
        # The focus is signed, or anybody could have us cut a hundred times a hundred parts.
        signed = Signed(field_label, crop and (crop.x, crop.y), expires)
        signature = _signer(name).sign(str(signed))
        arguments = {"signature": signature, "width": 0, "path": name}
        if crop:
            arguments |= {"across": crop.across, "down": crop.down}
        url = conf.URL_PREFIX + reverse("django_latentimg:rendition", kwargs=arguments)
        # The signature's end is base64 without "/", so the first "/0" after it is the width.
        digest = signature.rpartition(":")[2]
        before, _, after = url.partition(f"{digest}/0")
        return cls(f"{before}{digest}/", after)

    def rendition(self, width: int, format: str | None) -> str:
        """URL of one rendition, or of the blob; without a format, the one that suits ``Accept``."""
        extension = f".{format}" if format else ""
        return f"{self.before_width}{width}{self.after_width}{extension}"


def rendition_url(
    field_label: str, name: str, width: int, format: str | None, crop: Crop | None = None
) -> str:
    """URL of one rendition; without a format, the one negotiated by ``Accept``."""
    return PictureUrl.sign(field_label, name, crop).rendition(width, format)


def offered(widths: Sequence[int], natural: int | None) -> list[tuple[int, int]]:
    """What a page offers: (width in the URL, real width of the picture) of each rendition.

    The field's widths below the picture's natural one, then the first that is not, delivered at
    the natural width, since pictures are never scaled up. All of them where ``natural`` is None.
    """
    result: list[tuple[int, int]] = []
    for width in sorted(widths):
        if natural is not None and width >= natural:
            result.append((width, natural))
            break
        result.append((width, width))
    return result
