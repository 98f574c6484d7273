"""Fixtures: a media folder of its own for each test, photographs, a Celery app without a broker."""

import io
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from celery import Celery
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.utils import timezone
from PIL import Image

ON_POSTGRES = "postgresql" in settings.DATABASES["default"]["ENGINE"]

# Wholly about it; its round of tests collects them.
collect_ignore = [] if ON_POSTGRES else ["postgres"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What one database alone can show belongs to its round of tests. The longest file is first:
    begun last, it would keep one process busy long after the others."""
    other = "only_sqlite" if ON_POSTGRES else "only_postgres"
    elsewhere = [item for item in items if item.get_closest_marker(other)]
    items[:] = [item for item in items if item not in elsewhere]
    items.sort(key=lambda item: item.path.name != "test_faults.py")
    config.hook.pytest_deselected(items=elsewhere)


# Read when huggingface_hub is imported: no test looks for a model outside this machine.
os.environ["HF_HUB_OFFLINE"] = "1"

SHARED = Path(__file__).parent.parent / ".." / "shared"

# How long an example takes is the machine's affair, and the first loads weights.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

celery_app = Celery("tests", broker="memory://")
celery_app.set_default()


def picture(width: int = 96, height: int = 64, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Soft coloured shapes with a hard edge, different for each seed."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 32
    phase = random.uniform(0, 6, (3, 2))
    waves = [np.sin(x * (1 + c) + p) * np.cos(y + q) for c, (p, q) in enumerate(phase)]
    rgb = np.stack(waves, -1) * 90 + 128
    rgb[height // 2 :, : width // 2] = random.uniform(0, 255, 3)
    image = Image.fromarray(rgb.clip(0, 255).astype(np.uint8))
    if mode == "RGBA":
        image.putalpha(Image.fromarray((x / x.max() * 255).astype(np.uint8)))
    return image


def image_bytes(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, format, **options)
    return target.getvalue()


@pytest.fixture(autouse=True)
def media(tmp_path: Path, settings: Any) -> Path:
    """An empty folder for the default storage and one for renditions."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.STORAGES = settings.STORAGES | {
        "renditions": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path / "renditions")},
        }
    }
    settings.MEDIA_ROOT.mkdir()
    return tmp_path / "media"


@pytest.fixture
def files(media: Path) -> Callable[[], set[str]]:
    """All names in the default storage."""
    return lambda: {str(path.relative_to(media)) for path in media.rglob("*") if path.is_file()}


@pytest.fixture
def upload() -> Callable[..., ContentFile]:
    """An uploaded photograph."""

    def make(name: str = "llama.png", **options: Any) -> ContentFile:
        return ContentFile(image_bytes(picture(**options)), name)

    return make


@pytest.fixture
def enqueued(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, ...]]]:
    """The arguments of every task that was sent, instead of sending it."""
    from django_latentimg.tasks import compress_image

    sent: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        compress_image, "apply_async", lambda arguments, **options: sent.append(arguments)
    )
    return sent


@pytest.fixture
def collect() -> Callable[[], None]:
    """Deletes what is discarded, as if it had been due."""
    from django_latentimg import discards
    from django_latentimg.models import Discarded

    def collect() -> None:
        Discarded.objects.update(due=timezone.now())
        discards.free_due()

    return collect


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """URL of an S3 server."""
    from tests import s3

    with s3.server() as url:
        yield url


@pytest.fixture
def calls(endpoint: str, settings: Any) -> Iterator[Counter[str]]:
    """A fresh bucket as default storage and as cache; counts its operations."""
    from tests import s3

    bucket = s3.bucket(endpoint)
    bucket.create()
    backend = s3.backend(endpoint)
    settings.STORAGES = settings.STORAGES | {"default": backend, "renditions": backend}
    counted: Counter[str] = Counter()
    for alias in ("default", "renditions"):
        events = storages[alias].connection.meta.client.meta.events
        events.register("before-call.s3", lambda model, **_: counted.update([model.name]))
    yield counted
    bucket.objects.all().delete()
    bucket.delete()


def shared(path: str) -> Path:
    """A folder of the reference data; skips the test where it is absent."""
    folder = SHARED / path
    if not folder.exists():
        pytest.skip(f"../shared/{path} is not here")
    return folder
