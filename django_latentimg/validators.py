"""What an upload must be; each complaint has a code of its own. Nothing is decoded for it."""

from collections.abc import Sequence
from typing import Any, BinaryIO, Literal, cast

from django.core.exceptions import ValidationError
from django.template.defaultfilters import filesizeformat
from django.utils.deconstruct import deconstructible
from django.utils.translation import gettext_lazy as _
from PIL import Image

from .codec import pixels
from .codec.errors import ImageError, TooLargeError
from .conf import conf

Animated = Literal["first", "refuse"]

HEAD = 1024
"""Bytes in which an SVG shows itself."""


@deconstructible
class PictureValidator:
    """Bounds for uploads.

    ``formats``: Pillow's names, such as ``JPEG``; all that can be read unless given. ``max_bytes``.
    ``min_width`` to ``max_height``: pixels, as displayed. ``animated``: ``first`` takes the first
    frame, ``refuse`` refuses the file. The bound of ``LATENTIMG["MAX_PIXELS"]`` is always there.

    Codes: ``svg``, ``invalid_image``, ``format``, ``max_bytes``, ``max_pixels``, ``min_size``,
    ``max_size``, ``animated``.
    """

    def __init__(
        self,
        *,
        formats: Sequence[str] | None = None,
        max_bytes: int | None = None,
        min_width: int = 1,
        min_height: int = 1,
        max_width: int | None = None,
        max_height: int | None = None,
        animated: Animated = "first",
    ) -> None:
        self.formats = formats
        self.max_bytes = max_bytes
        self.least = min_width, min_height
        self.most = max_width, max_height
        self.animated = animated

    def __call__(self, value: Any) -> None:
        """``value``: a file, or a ``FieldFile``. Raises ``ValidationError``."""
        if getattr(value, "_committed", False):
            return  # It is in storage, and was looked at when it came.
        if self.max_bytes is not None and value.size > self.max_bytes:
            raise ValidationError(
                _("The file has %(size)s; at most %(most)s are accepted."),
                code="max_bytes",
                params={
                    "size": filesizeformat(value.size),
                    "most": filesizeformat(self.max_bytes),
                },
            )
        image = open_upload(value)
        if self.formats is not None and image.format not in self.formats:
            raise ValidationError(
                _("The file is %(format)s; accepted are %(formats)s."),
                code="format",
                params={"format": image.format, "formats": ", ".join(self.formats)},
            )
        if self.animated == "refuse" and getattr(image, "is_animated", False):
            raise ValidationError(_("The picture is animated."), code="animated")
        size = pixels.displayed_size(image)
        if any(side < least for side, least in zip(size, self.least, strict=True)):
            raise ValidationError(
                _("%(width)s × %(height)s pixels; at least %(least)s are needed."),
                code="min_size",
                params=_sides(size, least="{} × {}".format(*self.least)),
            )
        if any(
            most is not None and side > most for side, most in zip(size, self.most, strict=True)
        ):
            most = " × ".join("∞" if most is None else str(most) for most in self.most)
            raise ValidationError(
                _("%(width)s × %(height)s pixels; at most %(most)s are accepted."),
                code="max_size",
                params=_sides(size, most=most),
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PictureValidator) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


def open_upload(value: Any) -> Image.Image:
    """The picture, of which only the head has been read; ``value`` is at its beginning again.

    Raises ``ValidationError``: ``svg``, ``max_pixels``, ``invalid_image``.
    """
    file = cast(BinaryIO, getattr(value, "file", value))
    file.seek(0)
    head = file.read(HEAD).lstrip().lower()
    file.seek(0)
    if head.startswith((b"<svg", b"<?xml", b"<!doctype svg")) or b"<svg" in head:
        raise ValidationError(
            _("SVG is a drawing made of text, which may hold scripts. Store it as a plain file."),
            code="svg",
        )
    try:
        return pixels.open_image(file, max_pixels=conf.MAX_PIXELS)
    except TooLargeError as error:
        raise ValidationError(
            _("The picture has too many pixels: %(reason)s"),
            code="max_pixels",
            params={"reason": str(error)},
        ) from error
    except ImageError as error:
        raise ValidationError(
            _("This is no picture, or a damaged one: %(reason)s"),
            code="invalid_image",
            params={"reason": str(error)},
        ) from error
    finally:
        file.seek(0)


def _sides(size: tuple[int, int], **more: object) -> dict[str, object]:
    return {"width": size[0], "height": size[1], **more}
