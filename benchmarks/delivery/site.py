"""A site with one image app: ``python -m benchmarks.delivery.site TASK FOLDER``, prints JSON.

``PEER`` names the app. Database and files lie in FOLDER.
"""

import io
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
from PIL import Image, ImageDraw

from ..metrics import ssimulacra2
from . import counted
from .peers import PEERS, QUALITY, WIDTHS, as_jpeg

PEER = PEERS[os.environ["PEER"]]
OURS = PEER.package == "django-latentimg"
ON_PAGE = 50
SEEN = 6
"""Photographs."""


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
        LATENTIMG={
            "RENDITION_STORAGE": "renditions",
            "EFFORT": 0,
            "GRACE": 0,
            "SEND": {"renditions": os.environ.get("SEND", "stream")},
        },
        ALLOWED_HOSTS=["127.0.0.1"],
        **PEER.settings,
        **(PEER.quality(QUALITY) if PEER.quality and QUALITY is not None else {}),
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


def create(content: bytes, name: str) -> Any:
    """A row whose photograph has been through all that happens after an upload."""
    from django.core.files.base import ContentFile
    from django.core.management import call_command

    from .models import Photo

    photo = Photo()
    PEER.set_file(photo, ContentFile(content, name))
    photo.save()
    if OURS:
        call_command("recompress_images", verbosity=0)
        photo.refresh_from_db()
    return photo


def create_large(width: int = 4000, height: int = 3000) -> Any:
    """A row with a large photograph; ours as latents, which take longest to decode."""
    image = photograph(width, height, 0)
    if not OURS:
        return create(as_jpeg(image), "0.jpg")
    from django.core.files.base import ContentFile

    from django_latentimg import codec
    from django_latentimg.names import BlobName

    from .models import Photo

    blob = codec.encode(image)
    storage = Photo._meta.get_field("photo").storage
    source = storage.save("photos/0.jpg", ContentFile(as_jpeg(image)))
    latent = codec.Latent.from_bytes(blob)
    name = BlobName.of(latent, source, "0000")
    return Photo.objects.create(photo=storage.save(str(name), ContentFile(blob)))


def small(seed: int) -> bytes:
    return as_jpeg(photograph(1280, 960, seed))


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
            create(small(seed), f"{seed}.jpg")
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
    """Seconds until a rendition of a photograph is there, by its size."""
    migrate()
    sizes = {"1": (1184, 888), "12": (4000, 3000), "48": (8000, 6000)}
    return {name: seconds_of_miss(folder, create_large(*size)) for name, size in sizes.items()}


def seconds_of_miss(folder: Path, photo: Any) -> float:
    """Best of three."""
    kept = files(folder)
    times = []
    PEER.fetch(photo)  # Whatever a process does once.
    for _ in range(3):
        for path in files(folder) - kept:
            path.unlink()
        forget()
        times.append(seconds_of(lambda: PEER.fetch(photo)))
    return min(times)


def kinds(folder: Path) -> dict[str, Any]:
    """What becomes of a photograph with transparency, and of one in CMYK."""
    migrate()
    opaque = photograph(1184, 888, 0)
    disc = Image.new("L", opaque.size)
    ImageDraw.Draw(disc).ellipse((0, 0, *opaque.size), fill=255)
    transparent = opaque.copy()
    transparent.putalpha(disc)
    png = io.BytesIO()
    transparent.save(png, "PNG")
    return {
        "alpha": outcome(png.getvalue(), "alpha.png", transparent),
        "CMYK": outcome(as_jpeg(opaque.convert("CMYK")), "cmyk.jpg", opaque),
    }


def outcome(content: bytes, name: str, wanted: Image.Image) -> str:
    try:
        made = PEER.fetch(create(content, name))
        with Image.open(io.BytesIO(made)) as opened:
            opened.load()
    except Exception as error:
        return f"error: {type(error).__name__}"
    if wanted.mode == "RGBA" and opened.has_transparency_data:
        return f"kept{differing(opened.convert('RGBA'), wanted)}"
    kept = "sRGB" if opened.mode == "RGB" else f"left {opened.mode}"
    ways = {kept: wanted}
    if wanted.mode == "RGBA":
        ways = {
            "on white": flattened(wanted, 255),
            "on black": flattened(wanted, 0),
            "all opaque": wanted.convert("RGB"),
        }
    made_of = {way: differing(opened.convert("RGB"), image) for way, image in ways.items()}
    return next((way for way, wrong in made_of.items() if not wrong), str(made_of))


def flattened(image: Image.Image, level: int) -> Image.Image:
    ground = Image.new("RGB", image.size, (level,) * 3)
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def differing(one: Image.Image, other: Image.Image) -> str:
    far = difference(one, other.resize(one.size, Image.Resampling.LANCZOS))
    return f", colours wrong by {far:.0f} levels" if far > 10 else ""


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean, in levels; of what is seen, where there is transparency."""
    if one.mode == "RGBA":
        one, other = flattened(one, 255), flattened(other, 255)
    return float(np.abs(np.float32(one) - np.float32(other)).mean())


def storage(folder: Path) -> dict[str, Any]:
    """Bytes of one photograph with all renditions, and files after replacing and deleting it."""
    from django.core.files.base import ContentFile

    migrate()
    photo = create(small(0), "0.jpg")
    show(photo)
    sizes = {str(path): path.stat().st_size for path in files(folder)}
    before = len(sizes)
    PEER.set_file(photo, ContentFile(small(1), "new.jpg"))
    photo.save()
    if OURS:
        from django.core.management import call_command

        call_command("recompress_images", verbosity=0)
        photo.refresh_from_db()
    show(photo)
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


def show(photo: Any) -> None:
    """So that all renditions are there that a page offers."""
    from django.template import engines

    html = engines["django"].from_string(PEER.markup).render({"p": photo})
    assert html
    if OURS:
        for rendition in renditions_of(photo):
            rendition.bytes()


def renditions_of(photo: Any) -> list[Any]:
    return [
        photo.photo.rendition(width, format)
        for width in WIDTHS
        for format in photo.photo.field.formats
    ]


def seen(folder: Path) -> dict[str, Any]:
    """Bytes of real photographs with all renditions, and how good what a browser gets is."""
    migrate()
    paths = sorted((Path(os.environ["SHARED"]) / "photos" / "products").glob("*.webp"))
    sums = {"source": 0, "blob": 0, "renditions": 0, "in the first format": 0}
    scores = []
    for path in [path for path in paths if large(path)][:: len(paths) // SEEN][:SEEN]:
        with Image.open(path) as opened:
            source = opened.convert("RGB")
        before = files(folder)
        photo = create(as_jpeg(source), f"{path.stem[-8:]}.jpg")
        show(photo)
        made = files(folder) - before
        shown = [one for one in made if is_rendition(one, source.size)]
        for one in made - set(shown):
            sums["blob" if one.suffix == ".limg" else "source"] += one.stat().st_size
        sums["renditions"] += sum(one.stat().st_size for one in shown)
        # A browser takes the first format that is offered.
        if OURS:
            shown = [one for one in shown if one.suffix == f".{photo.photo.field.formats[0]}"]
        sums["in the first format"] += sum(one.stat().st_size for one in shown)
        for one in shown:
            with Image.open(one) as opened:
                wanted = source.resize(opened.size, Image.Resampling.LANCZOS)
                scores.append(ssimulacra2(np.asarray(wanted), np.asarray(opened.convert("RGB"))))
    return {"ssimulacra2": float(np.mean(scores)), **{key: n / SEEN for key, n in sums.items()}}


def large(path: Path) -> bool:
    with Image.open(path) as opened:
        return opened.width >= WIDTHS[-2]


def is_rendition(path: Path, source: tuple[int, int]) -> bool:
    if path.suffix == ".limg":
        return False
    if OURS:
        return "renditions" in path.parts
    with Image.open(path) as opened:
        return opened.size != source


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


def cached(folder: Path) -> dict[str, Any]:
    """A rendition that is there: its file and its URL."""
    migrate()
    rendition = create(small(0), "0.jpg").photo.rendition(WIDTHS[1], "avif")
    rendition.bytes()
    return {"file": rendition.cache_name, "url": rendition.url}


TASKS = {task.__name__: task for task in (page, miss, kinds, storage, seen, prepare, crowd, cached)}

if __name__ == "__main__":
    task, folder = sys.argv[1], Path(sys.argv[2])
    configure(folder)
    print(json.dumps(TASKS[task](folder)))
