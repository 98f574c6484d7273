"""A process that restores and is to be killed: ``python -m tests.restorer FOLDER [--kill POINT]``.

Database and files live in FOLDER. The first call makes them, with one picture that is a blob, of a
field that keeps no source. Prints the state as JSON.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import django
from django.conf import settings

from tests.worker import kill


def kill_at(point: str) -> None:
    """Let this process die at one point of the restoration."""
    from django.core.files.storage import FileSystemStorage

    from django_latentimg import discards, renditions, restore

    if point == "before_file":
        restore._decode = kill  # type: ignore[assignment]
    elif point == "in_file":
        FileSystemStorage._save = kill  # type: ignore[method-assign]
    elif point == "after_file":
        save_whole = renditions.save_whole

        def save_and_die(*arguments: Any) -> None:
            save_whole(*arguments)
            kill()

        renditions.save_whole = save_and_die
    elif point == "in_transaction":
        discards.discard = kill  # type: ignore[assignment]
    elif point == "after_row":
        swap = restore._swap

        def swap_and_die(*arguments: Any) -> bool:
            swap(*arguments)
            kill()
            return True

        restore._swap = swap_and_die


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--kill")
    arguments.add_argument("--look", action="store_true")
    arguments.add_argument("--free", action="store_true", help="as if the grace had passed")
    given = arguments.parse_args()

    database, media = given.folder / "db.sqlite3", given.folder / "files"
    settings.DATABASES["default"]["NAME"] = database
    settings.MEDIA_ROOT = media
    settings.STORAGES["renditions"]["OPTIONS"] = {"location": given.folder / "renditions"}
    settings.LATENTIMG |= {"COMPRESS": False, "GRACE": 600}
    django.setup()

    from django.core.management import call_command
    from django.utils import timezone

    from django_latentimg import discards, restore
    from django_latentimg.models import Discarded
    from tests.stored import store_blob
    from tests.testapp.models import Snapshot

    field = Snapshot._meta.get_field("photo")
    if not database.exists():
        call_command("migrate", run_syncdb=True, verbosity=0)
        blob = (Path(__file__).parent / "golden" / "v5" / "opaque.limg").read_bytes()
        Snapshot.objects.create(photo=store_blob(field, "snaps/llama.jpg", blob))
    row = Snapshot.objects.get()
    if given.kill:
        kill_at(given.kill)
    if not given.look:
        restore.restore(field, row.pk, row.photo.name)
    if given.free:
        Discarded.objects.update(due=timezone.now())
        discards.free_due()
    row = Snapshot.objects.get()
    state = {
        "column": row.photo.name,
        "files": sorted(
            str(path.relative_to(media)) for path in media.rglob("*") if path.is_file()
        ),
        "size": row.photo.image().size,
    }
    print(json.dumps(state))


if __name__ == "__main__":
    main()
