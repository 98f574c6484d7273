"""A web process that only shows pages, cached renditions and blobs never loads torch."""

import subprocess
import sys

import pytest

from .stored import blob

SCRIPT = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage, storages
from django.template import engines
from django.test import Client
from django_latentimg import fields, links, markup, names, negotiation, renditions, urls, views
from django_latentimg.templatetags import latentimg
from tests.testapp.models import Product

photo = Product(photo="photos/llama.jpg.96x64-5123.01234567-0123.limg").photo
page = engines["django"].from_string("{% load latentimg %}{% latent_img photo %}")
assert "<img" in page.render({"photo": photo})

cached = renditions.rendition_name(photo.name, 320, "webp")
storages["renditions"].save(cached, ContentFile(b"cached"))
assert Client().get(photo.rendition(320, "webp").url).content == b"cached"

blob = sys.stdin.buffer.read()
default_storage.save(photo.name, ContentFile(blob))
link = links.rendition_url("testapp.product.photo", photo.name, 320, None)
assert Client().get(link, headers={"Accept": links.BLOB_TYPE}).content == blob

print(",".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@pytest.fixture(scope="module")
def loaded(pytestconfig) -> set[str]:
    """Top-level modules of such a process."""
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=blob(),
        capture_output=True,
        cwd=pytestconfig.rootpath,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr.decode()
    return set(finished.stdout.decode().strip().split(","))


@pytest.mark.parametrize(
    "module",
    ["torch", "diffusers", "safetensors", "transformers", "celery", "tqdm", "prometheus_client"],
)
def test_imports__not_needed_to_serve(loaded, module):
    assert module not in loaded


def test_imports__the_list_is_the_one_of_that_process(loaded):
    assert {"django", "django_latentimg", "PIL"} <= loaded
