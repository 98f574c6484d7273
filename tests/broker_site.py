"""A site in a folder, for tests with a real broker and worker processes of their own.

    python -m tests.broker_site upload                   # saves one picture, as a view would
    python -m tests.broker_site compress [ARGUMENT …]    # recompress_images
    python -m tests.broker_site fetch                    # asks for a rendition, has no engine
    python -m tests.broker_site sweep                    # what beat does every few minutes
    celery -A tests.broker_site worker --pool solo

``SITE_FOLDER`` holds database and files, ``BROKER`` is the broker's URL, ``CELERY`` and
``LATENTIMG`` hold settings as JSON. Of a worker, ``KILL_AT`` says where it kills itself, ``HANG``
for how many seconds its storage hangs (``stubborn``: whatever it is told); ``SECONDS`` are the
limits that an upload gives its task.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import django
from celery import Celery
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
FOLDER = Path(os.environ["SITE_FOLDER"])
settings.DATABASES["default"]["NAME"] = FOLDER / "db.sqlite3"
settings.DATABASES["default"]["OPTIONS"] = {"timeout": 30}
settings.MEDIA_ROOT = FOLDER / "files"
settings.STORAGES["renditions"]["OPTIONS"] = {"location": FOLDER / "renditions"}
settings.LATENTIMG |= json.loads(os.environ.get("LATENTIMG", "{}"))
django.setup()

app = Celery("site", broker=os.environ["BROKER"], set_as_current=True)
app.set_default()
app.conf.update(json.loads(os.environ.get("CELERY", "{}")))
app.autodiscover_tasks(["django_latentimg"])

if "KILL_AT" in os.environ:
    from tests.worker import kill_at

    kill_at(os.environ["KILL_AT"])

if "HANG" in os.environ:
    from django.core.files.storage import FileSystemStorage

    open_file = FileSystemStorage._open

    def hang(self: FileSystemStorage, name: str, mode: str = "rb") -> Any:
        until = time.monotonic() + float(os.environ["HANG"].removesuffix(" stubborn"))
        while time.monotonic() < until:
            try:
                time.sleep(until - time.monotonic())
            except Exception:
                if not os.environ["HANG"].endswith("stubborn"):
                    raise
        return open_file(self, name, mode)

    FileSystemStorage._open = hang  # type: ignore[method-assign]

if "SECONDS" in os.environ:
    from django_latentimg import workers

    workers.SECONDS, workers.LAST_SECONDS = map(int, os.environ["SECONDS"].split())
    workers.SECONDS_PER_MEGAPIXEL = 0


def upload() -> None:
    from django.core.files.base import ContentFile
    from django.core.management import call_command

    from tests.conftest import image_bytes, picture
    from tests.testapp.models import Product

    app.set_current()  # conftest made another
    call_command("migrate", run_syncdb=True, verbosity=0)
    for name in sys.argv[2:] or ["llama.png"]:
        Product.objects.create(photo=ContentFile(image_bytes(picture()), name))


def compress() -> None:
    from django.core.management import call_command

    call_command("recompress_images", *sys.argv[2:], verbosity=0)


def sweep() -> None:
    from django_latentimg import tasks

    print(json.dumps(tasks.sweep()))


def fetch() -> None:
    """What ``MISSES`` says, from the environment, of a rendition; prints status and size."""
    from django.test import Client

    from tests.testapp.models import Product

    app.set_current()
    settings.LATENTIMG = {**settings.LATENTIMG, "MISSES": os.environ["MISSES"]}
    for engine in ("torch", "onnxruntime"):
        sys.modules[engine] = None  # type: ignore[assignment] # as if it were not installed
    response = Client().get(Product.objects.get().photo.rendition(320, "webp").url)
    print(response.status_code, len(response.content))


if __name__ == "__main__":
    {"upload": upload, "compress": compress, "fetch": fetch, "sweep": sweep}[sys.argv[1]]()
