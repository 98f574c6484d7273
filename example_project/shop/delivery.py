"""How many bytes a product's photograph takes, at rest and on its way.

Asks the storages about every file: right for a page or a table about bytes, wrong for a shop's
ordinary pages, which need no storage at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.core.files.storage import Storage, storages

from django_latentimg.conf import conf
from django_latentimg.names import EXTENSION, BlobName

from .models import Product


@dataclass(frozen=True)
class Sizes:
    """Bytes of one photograph, or of several together."""

    source: int
    blob: int
    """0 until it is compressed."""

    @property
    def ratio(self) -> float:
        """How many times smaller the blob is."""
        return self.source / self.blob if self.blob else 1

    @property
    def share(self) -> float:
        """The blob's bytes, per cent of the source's."""
        return 100 * self.blob / self.source if self.source else 0


def size(storage: Storage, name: str) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return storage.size(name)
    except FileNotFoundError:
        return 0


def source_name(product: Product) -> str:
    name = product.photo.stored_name
    blob_name = BlobName.parse(name)
    return blob_name.source if blob_name else name


def sizes(product: Product) -> Sizes:
    photo = product.photo
    source = size(photo.storage, source_name(product))
    return Sizes(source, size(photo.storage, photo.stored_name) if photo.is_latent else 0)


def kept_as(product: Product) -> str:
    """What the guard has made of the photograph; empty until it is compressed."""
    if not product.photo.is_latent:
        return ""
    latent = product.photo.latent()
    if not latent.has_latents:
        return "kept as AVIF, which does better here"
    patches = latent.patches()
    if patches is None:
        return "latents, from which the renditions are made"
    count = len(patches.boxes)
    return f"latents, with {count} {'patch' if count == 1 else 'patches'} where they fell short"


def compressed() -> list[tuple[Product, Sizes]]:
    """All products whose photograph is a blob."""
    products = Product.objects.filter(photo__endswith=EXTENSION)
    return [(product, sizes(product)) for product in products]


def total(parts: Sequence[Sizes]) -> Sizes:
    return Sizes(sum(part.source for part in parts), sum(part.blob for part in parts))


def cached_renditions(product: Product) -> list[tuple[int, list[tuple[str, int]]]]:
    """(width, [(format, bytes)]) of what a page offers; 0 bytes where nobody has asked for it."""
    photo = product.photo
    storage = storages[conf.RENDITION_STORAGE]
    return [
        (
            real,
            [
                (format, size(storage, photo.rendition(requested, format).cache_name))
                for format in photo.field.formats
            ],
        )
        for requested, real in photo.offered()
    ]
