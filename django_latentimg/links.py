"""Stored names to signed URLs and back, without a query or a storage call.

The first part of a URL names the field, whose widths and formats the view then allows, and signs
that together with the stored name: nobody can ask for a file that no page has shown.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

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


def _signer(name: str) -> Signer:
    return Signer(salt=f"django_latentimg:{name}")


def unsign(signature: str, name: str) -> tuple[str, tuple[int, int] | None]:
    """The field's label, and of parts of the picture the focus in percent.

    Raises ``BadSignature`` unless signed for the stored name ``name``.
    """
    label, _, focus = _signer(name).unsign(signature).partition("@")
    if not focus:
        return label, None
    x, y = map(int, focus.split(","))
    return label, (x, y)


class PictureUrl(NamedTuple):
    """URLs of all renditions of one picture, signed once."""

    before_width: str
    after_width: str

    @classmethod
    def sign(cls, field_label: str, name: str, crop: Crop | None = None) -> "PictureUrl":
        arguments: dict[str, str | int] = {"width": 0, "path": name}
        if crop:
            # The focus is signed, or anybody could have us cut a hundred times a hundred parts.
            field_label += f"@{crop.x},{crop.y}"
            arguments |= {"across": crop.across, "down": crop.down}
        arguments["signature"] = signature = _signer(name).sign(field_label)
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
