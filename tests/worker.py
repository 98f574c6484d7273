"""A worker to be killed: ``python -m tests.worker FOLDER MODEL [--kill POINT | --look]``.

Database and files live in FOLDER. The first call makes them, with one uploaded picture. The codec
is replaced by a stored blob: what is tested is the order of writes. Prints the state as JSON.
"""

import argparse
import json
import os
import signal
from pathlib import Path
from typing import Any

import django
from django.conf import settings


def kill(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(point: str) -> None:
    """Let this process die at one point of the compression."""
    from django.core.files.storage import FileSystemStorage

    from django_latentimg import compression

    if point == "before_blob":
        compression._write_once = kill  # type: ignore[assignment]
    elif point == "in_blob":

        def half(storage: FileSystemStorage, name: str, content: Any) -> str:
            path = Path(storage.path(name))
            path.write_bytes(content.read()[:40])
            kill()
            return name

        FileSystemStorage._save = half  # type: ignore[method-assign]
    elif point == "after_blob":
        write_once = compression._write_once

        def write_and_die(*arguments: Any) -> None:
            write_once(*arguments)
            kill()

        compression._write_once = write_and_die
    elif point == "after_row":
        compression.compressed.send = kill  # type: ignore[method-assign]


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("model", choices=["product", "snapshot"])
    arguments.add_argument("--kill")
    arguments.add_argument("--look", action="store_true")
    arguments.add_argument("--first", choices=["replace", "delete"])
    given = arguments.parse_args()

    database, media = given.folder / "db.sqlite3", given.folder / "files"
    settings.DATABASES["default"]["NAME"] = database
    settings.MEDIA_ROOT = media
    settings.STORAGES["renditions"]["OPTIONS"] = {"location": given.folder / "renditions"}
    django.setup()

    from django.apps import apps
    from django.core.files.base import ContentFile
    from django.core.management import call_command
    from django.utils import timezone

    from django_latentimg import codec, compression, discards
    from django_latentimg.models import Discarded
    from django_latentimg.tasks import compress_image
    from tests.conftest import image_bytes, picture

    compress_image.apply_async = lambda *_, **__: None
    blob = (Path(__file__).parent / "golden" / "v4" / "opaque.limg").read_bytes()
    codec.encode = lambda *_, **__: blob  # type: ignore[assignment]
    model = apps.get_model("testapp", given.model)
    if not database.exists():
        call_command("migrate", run_syncdb=True, verbosity=0)
        model.objects.create(photo=ContentFile(image_bytes(picture()), "llama.png"))
    row = model.objects.get()
    source = model._meta.get_field("photo").generate_filename(row, "llama.png")
    primary_key = row.pk
    if given.first == "replace":
        row.photo = ContentFile(image_bytes(picture(seed=1)), "alpaca.png")
        row.save()
    elif given.first == "delete":
        row.delete()
    if given.kill:
        kill_at(given.kill)
    if not given.look:
        compression.compress(model._meta.get_field("photo"), primary_key, source)
        Discarded.objects.update(due=timezone.now())
        discards.free_due()
    row = model.objects.first()
    state = {
        "column": row.photo.name if row else None,
        "source": source,
        "files": sorted(
            str(path.relative_to(media)) for path in media.rglob("*") if path.is_file()
        ),
        "shown": bool(row and row.photo.size),
    }
    print(json.dumps(state))


if __name__ == "__main__":
    main()
