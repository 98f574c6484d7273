"""What a field's attribute is: a picture in storage, and its renditions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

from django.db.models.fields.files import ImageFieldFile
from django.utils.safestring import SafeString

from . import links, markup, renditions
from .conf import conf
from .crops import Crop, read_focus
from .names import BlobName

if TYPE_CHECKING:
    from PIL import Image

    from .codec import Latent
    from .fields import LatentImageField


class Rendition(NamedTuple):
    """One width and format of a picture; making it costs nothing until ``bytes()``."""

    file: "LatentImageFieldFile"
    requested_width: int
    """One of the field's widths."""
    format: str
    """``avif``, ``webp`` or ``jpeg``."""
    crop: Crop | None = None
    """The part of the picture that it shows."""

    @property
    def url(self) -> str:
        return self.file.picture_url(self.crop).rendition(self.requested_width, self.format)

    @property
    def content_type(self) -> str:
        return links.FORMATS[self.format]

    @property
    def width(self) -> int:
        """Pixels. Less than was requested where the picture is smaller."""
        size = self.file.shown_size(self.crop)
        return min(self.requested_width, size[0]) if size else self.requested_width

    @property
    def height(self) -> int:
        """Pixels."""
        width, height = self.file.width, self.file.height
        if self.crop:
            width, height = self.crop.size(width, height)
        return max(1, round(height * self.width / width))

    @property
    def cache_name(self) -> str:
        """In the storage of renditions, where it is once it has been made."""
        return renditions.cache_name(self.file.field, self.file.stored_name, *self[1:])

    def bytes(self) -> bytes:
        """The encoded picture, from the cache of renditions or made now."""
        return renditions.render(self.file.field, self.file.stored_name, *self[1:])


class LatentImageFieldFile(ImageFieldFile):
    """A picture in storage: a source, or the blob that was made of it."""

    field: "LatentImageField"
    _committed: bool

    @property
    def stored_name(self) -> str:
        """The column's value. Raises ``ValueError`` where the field is empty."""
        self._require_file()  # type: ignore[attr-defined]
        return cast(str, self.name)

    @property
    def blob_name(self) -> BlobName | None:
        return BlobName.parse(self.name) if self.name else None

    @property
    def is_latent(self) -> bool:
        """Whether the picture has been compressed."""
        return self.blob_name is not None

    @property
    def known_size(self) -> tuple[int, int] | None:
        """Displayed (width, height) in pixels, as far as the row tells; never asks the storage."""
        blob_name = self.blob_name
        if blob_name is not None:
            return blob_name.width, blob_name.height
        width = getattr(self.instance, self.field.width_field or "", None)
        height = getattr(self.instance, self.field.height_field or "", None)
        return (width, height) if width and height else None

    @property
    def width(self) -> int:
        """Displayed width, pixels."""
        return (self.known_size or self.measure())[0]

    @property
    def height(self) -> int:
        """Displayed height, pixels."""
        return (self.known_size or self.measure())[1]

    @property
    def size(self) -> int:
        """Bytes of the file; of a blob by its name, without asking the storage."""
        if self._committed and (blob_name := self.blob_name):
            return blob_name.bytes
        size: int = super().size
        return size

    def measure(self) -> tuple[int, int]:
        """Displayed (width, height) in pixels, read from the file. Raises ``ImageError``."""
        from .codec import pixels

        was_closed = self.closed
        self.open()
        position = self.file.tell()
        try:
            self.file.seek(0)
            return pixels.displayed_size(pixels.open_image(cast(BinaryIO, self.file)))
        finally:
            if was_closed:
                self.close()
            else:
                self.file.seek(position)

    @property
    def placeholder(self) -> str:
        """A tiny picture as a ``data:`` URI, or an empty string."""
        return getattr(self.instance, self.field.placeholder_field or "", "") or ""

    @property
    def alt(self) -> str:
        """What the picture shows, for those who do not see it."""
        return getattr(self.instance, self.field.alt_field or "", "") or ""

    @property
    def focus(self) -> tuple[int, int]:
        """The point around which parts are cut, percent of width and height."""
        return read_focus(getattr(self.instance, self.field.focus_field or "", None))

    def crop(self, ratio: str | None) -> Crop | None:
        """The part of this ratio; None without. Raises ``ValueError`` unless the field has it."""
        if ratio is None:
            return None
        if ratio not in self.field.ratios:
            raise ValueError(f"{self.field} has no ratio {ratio!r}, only {self.field.ratios}.")
        return Crop.parse(ratio, self.focus)

    def shown_size(self, crop: Crop | None = None) -> tuple[int, int] | None:
        """(width, height) in pixels of the picture, or of that part, as far as the row tells."""
        size = self.known_size
        return crop.size(*size) if size and crop else size

    def picture_url(self, crop: Crop | None = None) -> links.PictureUrl:
        expires = self.field.url_expiry()
        return links.PictureUrl.sign(links.label(self.field), self.stored_name, crop, expires)

    def offered(
        self, widths: Sequence[int] | None = None, crop: Crop | None = None
    ) -> list[tuple[int, int]]:
        """(width in the URL, real width) of every rendition that a page offers."""
        size = self.shown_size(crop)
        return links.offered(widths or self.field.widths, size and size[0])

    def rendition(self, width: int, format: str, ratio: str | None = None) -> Rendition:
        """Raises ``ValueError`` for a width, format or ratio that the field does not have."""
        if width not in self.field.widths or format not in self.field.formats:
            raise ValueError(f"{self.field} has no rendition {width} pixels wide in {format}.")
        return Rendition(self, width, format, self.crop(ratio))

    def srcset(
        self, format: str, widths: Sequence[int] | None = None, ratio: str | None = None
    ) -> str:
        """Candidates for a ``srcset`` attribute: ``"URL 320w, URL 640w"``."""
        chosen = None if widths is None else list(widths)
        return markup.Part.of(self, ratio, chosen, None, "").srcset(format)

    @property
    def url(self) -> str:
        """The largest rendition in the last, most widely understood, of the field's formats.

        While nothing is compressed a source's own: a site that moves in still has nodes that know
        no rendition's URL.
        """
        if not conf.COMPRESS and self.field.is_public and not self.is_latent:
            return self.storage.url(self.stored_name)
        widest, _ = self.offered()[-1]
        return self.picture_url().rendition(widest, self.field.formats[-1])

    @property
    def blob_url(self) -> str | None:
        """Of the blob itself, for clients that decode it; None until there is one."""
        return (
            self.picture_url().rendition(self.field.widths[0], links.BLOB)
            if self.is_latent
            else None
        )

    def picture(self, **options: Any) -> SafeString:
        """A ``<picture>`` element: ``markup.picture`` of this file."""
        return markup.picture(self, **options)

    def latent(self) -> "Latent":
        """The parsed blob. Raises ``ValueError`` for a source, ``BlobError`` for damage."""
        from .codec import Latent

        if not self.is_latent:
            raise ValueError(f"{self.name} is not compressed yet.")
        with self.storage.open(self.stored_name) as stored:
            return Latent.from_bytes(stored.read())

    def image(self) -> "Image.Image":
        """The picture in full, RGB or RGBA. Raises ``CodecError``."""
        from . import codec
        from .codec import pixels

        with self.storage.open(self.stored_name) as stored:
            if self.is_latent:
                return codec.decode(stored.read(), model=conf.MODEL, engine=conf.ENGINE)
            return pixels.assemble(*pixels.read(pixels.open_image(cast(BinaryIO, stored))))
