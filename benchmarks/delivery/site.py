"""A site with one image app: ``python -m benchmarks.delivery.site TASK FOLDER``, prints JSON.

``PEER`` names the app. Database and files lie in FOLDER.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import django
import numpy as np
from django.conf import settings
from PIL import Image

from . import counted
from .peers import PEERS, WIDTHS, as_jpeg

PEER = PEERS[os.environ["PEER"]]
OURS = PEER.package == "django-latentimg"
ON_PAGE = 50


def configure(folder: Path) -> None:
    def storage(name: str) -> dict[str, Any]:
        return {
            "BACKEND": "benchmarks.delivery.counted.Storage",
            "OPTIONS": {"location": str(folder / name)},
        }

    settings.configure(
        SECRET_KEY="x",
        USE_TZ=True,
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": folder / "db.sqlite3",
                "OPTIONS": {"timeout": 60},
            }
        },
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            *PEER.apps,
            "benchmarks.delivery",
        ],
        TEMPLATES=[
            {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
        ],
        CACHES={
            "default": {"BACKEND": "benchmarks.delivery.counted.Cache"}
            if "SAVES" not in os.environ
            else {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": "redis://127.0.0.1:6379/13",
                "KEY_PREFIX": str(folder),
            }
        },
        STORAGES={
            "default": storage("files"),
            "renditions": storage("files"),
            "staticfiles": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        },
        MEDIA_ROOT=folder / "files",
        MEDIA_URL="/media/",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        ROOT_URLCONF="benchmarks.delivery.urls" if OURS else "",
        LATENTIMG={"RENDITION_STORAGE": "renditions", "EFFORT": 0, "GRACE": 0},
        **PEER.settings,
    )
    django.setup()


def photograph(width: int, height: int, seed: int) -> Image.Image:
    """A part of a photograph that ships with scikit-image, as large as that."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    names = ("coffee.png", "chelsea.png", "astronaut.png")
    source = Image.open(folder / names[seed % len(names)]).convert("RGB")
    random = np.random.default_rng(seed)
    side = int(random.integers(200, 280))
    left, top = (int(random.integers(0, length - side)) for length in source.size)
    box = (left, top, left + side, top + side * height // width)
    return source.resize((width, height), Image.Resampling.LANCZOS, box)


def create(width: int, height: int, seed: int) -> Any:
    """A row whose photograph has been through all that happens after an upload."""
    from django.core.files.base import ContentFile
    from django.core.management import call_command

    from .models import Photo

    photo = Photo()
    file = ContentFile(as_jpeg(photograph(width, height, seed)), f"{seed}.jpg")
    PEER.set_file(photo, file)
    photo.save()
    if OURS:
        call_command("recompress_images", verbosity=0)
        photo.refresh_from_db()
    return photo


def create_large() -> Any:
    """A row with a photograph of 12 megapixels; ours as latents, which take longest to decode."""
    if not OURS:
        return create(4000, 3000, 0)
    from django.core.files.base import ContentFile

    from django_latentimg import codec
    from django_latentimg.names import BlobName

    from .models import Photo

    image = photograph(4000, 3000, 0)
    blob = codec.encode(image)
    storage = Photo._meta.get_field("photo").storage
    source = storage.save("photos/0.jpg", ContentFile(as_jpeg(image)))
    latent = codec.Latent.from_bytes(blob)
    name = BlobName(source, latent.width, latent.height, latent.digest, "0000")
    return Photo.objects.create(photo=storage.save(str(name), ContentFile(blob)))


def migrate() -> None:
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)


def page(folder: Path) -> dict[str, Any]:
    """A page of 50 pictures: at first, when all is there, and with a storage that is far away."""
    from django.db import connection
    from django.template import engines
    from django.test.utils import CaptureQueriesContext

    from .models import Photo

    if OURS:
        from django_latentimg.test import instant_codec

    migrate()
    # What is in the blobs is no matter to a page.
    with instant_codec() if OURS else nullcontext():
        for seed in range(ON_PAGE):
            create(1280, 960, seed)
    template = engines["django"].from_string("{% for p in photos %}" + PEER.markup + "{% endfor %}")
    related = ["photo"] if PEER.package == "wagtail" else []

    def render() -> str:
        photos = Photo.objects.select_related(*related).order_by("pk")
        return str(template.render({"photos": photos}))

    cold = seconds_of(render)
    counted.calls.clear()
    with CaptureQueriesContext(connection) as queries:
        html = render()
    found = {
        "cold": cold,
        # The query of the rows themselves is the page's own.
        "queries": len(queries) - 1,
        "cache": counted.calls["cache"],
        "storage": counted.calls["storage"],
        "bytes": len(html),
    }
    for milliseconds in (0, 20, 100):
        counted.latency = milliseconds / 1000
        repeats = 3 if found["storage"] == 0 or not milliseconds else 1
        found[f"seconds at {milliseconds}"] = min(seconds_of(render) for _ in range(repeats))
    return found


def miss(folder: Path) -> dict[str, Any]:
    """Seconds until a rendition of a photograph of 12 megapixels is there, best of three."""
    migrate()
    photo = create_large()
    kept = files(folder)
    times = []
    PEER.fetch(photo)  # Whatever a process does once.
    for _ in range(3):
        for path in files(folder) - kept:
            path.unlink()
        forget()
        times.append(seconds_of(lambda: PEER.fetch(photo)))
    return {"seconds": min(times)}


def storage(folder: Path) -> dict[str, Any]:
    """Bytes of one photograph with all renditions, and files after replacing and deleting it."""
    from django.core.files.base import ContentFile
    from django.template import engines

    migrate()
    photo = create(1280, 960, 0)
    template = engines["django"].from_string(PEER.markup)

    def show() -> None:
        html = template.render({"p": photo})
        if OURS:
            from django_latentimg import renditions

            assert html
            for width in WIDTHS:
                for format in photo.photo.field.formats:
                    renditions.render(photo.photo.field, photo.photo.name, width, format)

    show()
    sizes = {str(path): path.stat().st_size for path in files(folder)}
    before = len(sizes)
    PEER.set_file(photo, ContentFile(as_jpeg(photograph(1280, 960, 1)), "new.jpg"))
    photo.save()
    if OURS:
        from django.core.management import call_command

        call_command("recompress_images", verbosity=0)
        photo.refresh_from_db()
    show()
    replaced = len(files(folder)) - before
    image = photo.photo if PEER.package == "wagtail" else None
    photo.delete()
    if image:
        image.delete()
    return {
        "files": before,
        "bytes": sum(sizes.values()),
        "left after replacing": replaced,
        "left after deleting": len(files(folder)),
    }


def prepare(folder: Path) -> dict[str, Any]:
    """For a stampede."""
    migrate()
    return {"pk": create_large().pk, "files": len(files(folder))}


def crowd(folder: Path) -> dict[str, Any]:
    """So many threads ask for one rendition at the same time; waits for a line first."""
    from django.db import connections

    from .models import Photo

    threads, pk = int(os.environ["THREADS"]), int(os.environ["PK"])
    failed: list[str] = []
    gate = threading.Barrier(threads)

    def ask() -> None:
        photo = Photo.objects.select_related().get(pk=pk)
        gate.wait()
        try:
            assert PEER.fetch(photo)
        except Exception as error:
            failed.append(repr(error))
        finally:
            connections.close_all()

    print("ready", flush=True)
    sys.stdin.readline()
    workers = [threading.Thread(target=ask) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return {"failed": failed}


def files(folder: Path) -> set[Path]:
    return {path for path in (folder / "files").rglob("*") if path.is_file()}


def forget() -> None:
    """What a peer remembers of renditions in cache and database."""
    from django.apps import apps
    from django.core.cache import cache

    cache.clear()
    for app, model in (
        ("easy_thumbnails", "Thumbnail"),
        ("thumbnail", "KVStore"),
        ("wagtailimages", "Rendition"),
    ):
        if app in apps.app_configs:
            apps.get_model(app, model).objects.all().delete()


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


TASKS = {"page": page, "miss": miss, "storage": storage, "prepare": prepare, "crowd": crowd}

if __name__ == "__main__":
    task, folder = sys.argv[1], Path(sys.argv[2])
    configure(folder)
    print(json.dumps(TASKS[task](folder)))
