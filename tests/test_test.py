"""What sites' own tests get to use, without torch."""

import subprocess
import sys

import numpy as np
import pytest

from django_latentimg import codec
from django_latentimg.codec.errors import ImageError
from django_latentimg.compression import compress
from django_latentimg.test import instant_codec, make_blob, store_blob

from .conftest import picture
from .testapp.models import Product

PHOTO = Product._meta.get_field("photo")


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_make_blob__shows_the_picture(mode):
    image = picture(96, 64, mode)
    decoded = codec.decode(make_blob(image))
    assert (decoded.size, decoded.mode) == (image.size, image.mode)
    assert np.abs(np.asarray(decoded, float) - np.asarray(image)).mean() < 6


def test_make_blob__of_a_size():
    assert codec.decode(make_blob(width=300, height=20)).size == (300, 20)


def test_make_blob__of_no_picture():
    with pytest.raises(ImageError):
        make_blob(b"<svg/>")


@pytest.mark.django_db
def test_store_blob__is_a_row_that_shows_and_deletes(client, files):
    name = store_blob(Product, "photo", width=700, height=500)
    assert store_blob(Product, "photo", width=700, height=500) == name
    product = Product.objects.create(photo=name)
    assert product.photo.is_latent
    assert (product.photo.width, product.photo.height) == (700, 500)
    assert client.get(product.photo.url).status_code == 200
    assert files() == {name}


@pytest.mark.django_db
def test_instant_codec__compresses_an_upload(upload, enqueued):
    product = Product.objects.create(photo=upload(width=300, height=200))
    with instant_codec():
        compress(PHOTO, product.pk, product.photo.name)
    product.refresh_from_db()
    assert product.photo.is_latent
    assert product.photo_placeholder.startswith("data:image/webp")
    latent = product.photo.latent()
    assert (latent.width, latent.height, latent.model) == (300, 200, "7e577e57")
    assert codec.encode is not None
    assert "instant" not in codec.encode.__qualname__, "only as long as it is used"


def test_everything__without_torch(tmp_path):
    program = """
import sys
sys.modules["torch"] = None
import django
from django.conf import settings
from pathlib import Path
settings.DATABASES["default"]["NAME"] = ":memory:"
settings.MEDIA_ROOT = Path(sys.argv[1])
settings.STORAGES["renditions"]["OPTIONS"] = {"location": sys.argv[1]}
django.setup()
from django_latentimg.test import instant_codec, make_blob, store_blob
from tests.testapp.models import Product
product = Product(photo=store_blob(Product, "photo"))
print(len(product.photo.rendition(320, "webp").bytes()) > 50)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={"DJANGO_SETTINGS_MODULE": "tests.settings", "PATH": "", "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True\n"
