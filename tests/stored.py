"""Pictures in storage, for tests of what is delivered."""

from functools import cache

from django.core.files.base import ContentFile

from django_latentimg import codec
from django_latentimg.codec import Latent
from django_latentimg.fields import LatentImageField
from django_latentimg.names import BlobName

from .conftest import image_bytes, picture


@cache
def blob(width: int = 96, height: int = 64, mode: str = "RGB") -> bytes:
    return codec.encode(picture(width, height, mode))


def store_source(field: LatentImageField, name: str, content: bytes | None = None) -> str:
    """The stored name."""
    if content is None:
        content = image_bytes(picture())
    return field.storage.save(name, ContentFile(content))


def store_blob(field: LatentImageField, source: str, content: bytes | None = None) -> str:
    """The stored name, as compression would give it."""
    if content is None:
        content = blob()
    latent = Latent.from_bytes(content)
    name = str(BlobName.of(latent, source, "0123"))
    return field.storage.save(name, ContentFile(content))
