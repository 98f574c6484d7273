"""For a site's own tests: blobs without torch, in no time.

from django_latentimg.test import instant_codec, store_blob

product = Product.objects.create(photo=store_blob(Product, "photo", width=1600, height=1200))

@instant_codec()
def test_upload():
    ...  # what a worker compresses now takes milliseconds
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from django.core.files.base import ContentFile
from django.db import models
from PIL import Image

from . import codec, compression
from .codec import container, embedded, pixels
from .names import BlobName

MODEL = "7e577e57"
"""Fingerprint of the latent model in the header; there is none."""


def make_blob(image: codec.Source | None = None, *, width: int = 96, height: int = 64) -> bytes:
    """A blob that holds the picture as AVIF, which needs no torch in either direction.

    Without a picture, a plain one of that size. Raises ``ImageError``.
    """
    picture = Image.new("RGB", (width, height), "slategray") if image is None else image
    rgb, alpha = pixels.read(pixels.open_image(picture))
    chunks = {container.IMAGE: embedded.bare(embedded.encode_avif(rgb, 60))}
    if alpha is not None:
        chunks[container.ALPHA] = embedded.encode_alpha(alpha)
    header = container.Header(rgb.shape[1], rgb.shape[0], "sd1", 50, 50, MODEL)
    return container.pack(header, chunks)


def store_blob(
    model: type[models.Model],
    field: str,
    image: codec.Source | None = None,
    *,
    source: str = "llama.jpg",
    width: int = 96,
    height: int = 64,
) -> str:
    """Put a blob into the field's storage; returns its name, for the column."""
    latent_field: Any = model._meta.get_field(field)
    blob = make_blob(image, width=width, height=height)
    latent = codec.Latent.from_bytes(blob)
    policy = compression.fingerprint(latent_field)
    path = latent_field.generate_filename(model(), source)
    name = str(BlobName.of(latent, path, policy))
    if not latent_field.storage.exists(name):
        latent_field.storage.save(name, ContentFile(blob))
    return name


@contextmanager
def instant_codec() -> Iterator[None]:
    """Compression, in this process, makes blobs as ``make_blob`` does. Also a decorator."""

    def encode(image: codec.Source, **_: Any) -> bytes:
        return make_blob(image)

    with mock.patch.object(codec, "encode", encode):
        yield
