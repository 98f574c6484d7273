"""Every step of a scenario, with a fault at each in turn: ``python -m tests.faults SCENARIO …``.

A step is a call of the storage, a query, a commit, or a task given to the broker. For each step
the process is killed before or after it, or the call fails before or after it has been done; the
storage also lies. Then the invariants must hold, and hold again once a worker, the sweep and
garbage collection have done what they do anyway. Processes are forked, files and database are real,
the codec is an instant one. Prints how many faults there were, as JSON.
"""

import argparse
import io
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.management import call_command
from django.test import override_settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

KILLS = ("kill before", "kill after")
FAILURES = ("fail before", "fail after")
LIARS = ("open", "save", "exists", "delete")
SKEWS = (-86400, 86400)
"""Seconds by which a worker's clock is wrong."""


class Tripwire:
    """Counts steps, and does harm at one of them."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.target: int | None = None
        self.mode = ""

    def __call__(
        self,
        label: str,
        call: Callable[[], Any],
        failure: type[Exception],
        lie: Callable[[], Any] | None = None,
    ) -> Any:
        self.steps.append(label)
        if self.target != len(self.steps) - 1:
            return call()
        if self.mode == "kill before":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode == "fail before":
            raise failure("fault before")
        if self.mode == "lie":
            return lie() if lie else call()
        call()
        if self.mode == "kill after":
            os.kill(os.getpid(), signal.SIGKILL)
        raise failure("fault after")


tripwire = Tripwire()


class FaultyStorage(FileSystemStorage):
    """Local files; every call is a step. It lies in the ways that storages do."""

    def _open(self, name: str, mode: str = "rb") -> Any:
        def half() -> Any:
            file = FileSystemStorage._open(self, name, mode)
            content = file.read()
            return ContentFile(content[: len(content) // 2], name=file.name)

        return tripwire("open", lambda: FileSystemStorage._open(self, name, mode), OSError, half)

    def _save(self, name: str, content: Any) -> str:
        def half() -> str:
            data = content.read()
            return str(FileSystemStorage._save(self, name, ContentFile(data[: len(data) // 2])))

        return str(
            tripwire("save", lambda: FileSystemStorage._save(self, name, content), OSError, half)
        )

    def delete(self, name: str) -> None:
        tripwire("delete", lambda: FileSystemStorage.delete(self, name), OSError, lambda: None)

    def exists(self, name: str) -> bool:
        real = FileSystemStorage.exists(self, name)
        return bool(tripwire("exists", lambda: real, OSError, lambda: not real))

    def size(self, name: str) -> int:
        return int(tripwire("size", lambda: FileSystemStorage.size(self, name), OSError))


class Site:
    """A fresh folder, one row's life, and a queue that survives its processes."""

    def __init__(self, model: Any) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="faults-"))
        settings.MEDIA_ROOT = self.folder / "files"
        settings.STORAGES["default"] = {
            "BACKEND": "tests.faults.FaultyStorage",
            "OPTIONS": {"location": str(self.folder / "files")},
        }
        settings.STORAGES["renditions"]["OPTIONS"] = {"location": str(self.folder / "renditions")}
        self.model = model
        self.field = model._meta.get_field("photo")
        self.field.storage = FaultyStorage(location=str(self.folder / "files"))
        self.queue = self.folder / "queue"
        self.queue.touch()
        self.uploads: list[str] = []

    def close(self) -> None:
        shutil.rmtree(self.folder)

    def files(self) -> set[str]:
        root = self.folder / "files"
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    # What happens on a site

    def upload(self, name: str, primary_key: Any = None) -> None:
        """As a view does it, in a transaction."""
        from django.db import transaction

        from tests.conftest import image_bytes, picture

        content = ContentFile(image_bytes(picture(32, 24, seed=len(name))), name)
        with transaction.atomic():
            if primary_key is None:
                self.model.objects.create(photo=content)
            else:
                row = self.model.objects.get(pk=primary_key)
                row.photo = content
                row.save()

    def delete(self, primary_key: Any) -> None:
        self.model.objects.get(pk=primary_key).delete()

    def work(self) -> None:
        """A worker that takes all that is in the queue, as Celery does with ``acks_late``."""
        from django_latentimg import compression, discards
        from django_latentimg.links import find_field

        waiting = self.queue.read_text().splitlines()
        for number, line in enumerate(waiting):
            task, *arguments = json.loads(line)
            try:
                if task == "compress_image":
                    model, primary_key, name, source = arguments
                    field = find_field(f"{model}.{name}")
                    assert field
                    compression.compress(field, primary_key, source)
                else:
                    discards.free_due()
            except compression.TryAgainError:
                continue  # It stays in the queue.
            lines = self.queue.read_text().splitlines()
            lines[number] = ""
            self.queue.write_text("".join(f"{line}\n" for line in lines))
        lines = [line for line in self.queue.read_text().splitlines() if line]
        self.queue.write_text("".join(f"{line}\n" for line in lines))

    def recompress(self) -> None:
        """What ``recompress_images --stale`` does."""
        from django_latentimg import backlog, compression

        selection = backlog.Selection(self.field, "stale")
        list(backlog.here(selection.items(), compression.compress))

    def sweep(self) -> None:
        from django_latentimg import tasks

        tasks.sweep()

    def time_passes(self) -> None:
        """Days, for what waits for its time."""
        from django.utils import timezone

        from django_latentimg.models import Compression, Discarded

        Discarded.objects.update(due=timezone.now())
        Compression.objects.update(updated=timezone.now() - timedelta(days=2))
        for path in (self.folder / "files").rglob("*"):
            os.utime(path, (0, 0))

    def recover(self) -> None:
        """What goes on anyway: workers, the sweep, garbage collection."""
        self.work()
        self.time_passes()
        self.sweep()
        self.work()
        self.time_passes()
        self.sweep()
        call_command("latentimg_gc", "--delete", verbosity=0, stdout=io.StringIO())


def publish(site: Site, task: str) -> Callable[..., None]:
    def apply_async(arguments: Any = (), **_: Any) -> None:
        def send() -> None:
            with site.queue.open("a") as queue:
                queue.write(json.dumps([task, *arguments]) + "\n")

        tripwire(f"publish {task}", send, ConnectionError)

    return apply_async


def encode(image: Any, **_: Any) -> bytes:
    """The same blob for all; as in the codec, no picture is an error."""
    from django_latentimg.codec import pixels

    pixels.read(image)
    return instant_blob()


@cache
def instant_blob() -> bytes:
    from django_latentimg.test import make_blob

    return make_blob(width=32, height=24)


def instrument(site: Site) -> None:
    """In a process that ends with what it is about to do."""
    from django.db import OperationalError, connection

    from django_latentimg import codec, compression, tasks

    def query(execute: Any, sql: Any, parameters: Any, many: Any, context: Any) -> Any:
        label = " ".join(str(sql).split()[:3])
        return tripwire(label, lambda: execute(sql, parameters, many, context), OperationalError)

    commit = connection.commit
    connection.commit = lambda: tripwire(  # type: ignore[method-assign]
        "commit", commit, OperationalError
    )
    connection.execute_wrappers.append(query)
    codec.encode = encode
    compression.placeholder = lambda _: "data:,"
    for task in (tasks.compress_image, tasks.free_discarded):
        task.apply_async = publish(site, task.name.rpartition(".")[2])


def forked(site: Site, action: Callable[[], Any], *, skew: float = 0) -> Any:
    """In a process of its own: what it returned, or "killed", or the name of what it raised."""
    from django.db import connections
    from django.utils import timezone

    connections.close_all()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            now = timezone.now
            timezone.now = lambda: now() + timedelta(seconds=skew)
            instrument(site)
            try:
                result = action()
            except Exception as error:
                result = repr(error)
            connections.close_all()
            os.write(writer, json.dumps([result, tripwire.steps], default=str).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    if not told:
        return "killed"
    result, tripwire.steps = json.loads(told)
    return result


def unharmed(site: Site, action: Callable[[], Any]) -> None:
    result = forked(site, action)
    if result is not None:
        raise ViolationError(f"without a fault: {result}")


class ViolationError(AssertionError):
    pass


def check(site: Site, newest: str | None, *, at_rest: bool, spare: set[str] = frozenset()) -> None:
    """``newest``: the file name last uploaded, None for deleted; ``spare``: may be left over."""
    from django_latentimg.codec import Latent
    from django_latentimg.names import BlobName, source_of

    row = site.model.objects.first()
    needed: set[str] = set()
    if row is not None:
        name = row.photo.name
        source = source_of(name)
        blob = BlobName.parse(name)
        needed = {name, source} if site.field.keep_source else {name}
        if newest is not None and not source.endswith(newest):
            raise ViolationError(f"{name} is shown instead of {newest}")
        if not needed <= site.files():
            raise ViolationError(f"{needed - site.files()} is missing")
        content = (site.folder / "files" / name).read_bytes()
        if blob:
            Latent.from_bytes(content).image()
        else:
            from PIL import Image

            Image.open(io.BytesIO(content)).load()
        if at_rest and not blob:
            raise ViolationError(f"{name} is not compressed")
        commits = Counter(committed())
        if commits and max(commits.values()) > 1:
            raise ViolationError(f"committed more than once: {commits}")
    elif at_rest and newest is not None and not spare:
        raise ViolationError("the row is gone")
    if at_rest and site.files() - needed - spare:
        raise ViolationError(f"left over: {site.files() - needed - spare}")
    if at_rest and list((site.folder / "renditions").rglob("*.webp")):
        raise ViolationError("renditions are left over")


def committed() -> list[str]:
    """Every source from which a row was changed to its blob, by the database's own word."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT source FROM commits")
        return [source for (source,) in cursor.fetchall()]


def watch_commits(table: str) -> None:
    """Let the database note every change from a source to a blob."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS commits (source varchar(255))")
        cursor.execute("DELETE FROM commits")
        condition = "NEW.photo LIKE '%%.limg' AND OLD.photo NOT LIKE '%%.limg'"
        if connection.vendor == "postgresql":
            cursor.execute(
                "CREATE OR REPLACE FUNCTION note_commit() RETURNS trigger AS $$ BEGIN "
                "INSERT INTO commits VALUES (OLD.photo); RETURN NEW; END $$ LANGUAGE plpgsql"
            )
            cursor.execute(
                f"CREATE OR REPLACE TRIGGER note AFTER UPDATE ON {table} FOR EACH ROW "
                f"WHEN ({condition}) EXECUTE FUNCTION note_commit()".replace("%%", "%")
            )
        else:
            cursor.execute(
                f"CREATE TRIGGER note AFTER UPDATE ON {table} WHEN {condition} "
                "BEGIN INSERT INTO commits VALUES (OLD.photo); END".replace("%%", "%")
            )


# Scenarios: what was before, what is done under faults, which picture must be shown afterwards


def scenario(site: Site, name: str) -> tuple[Callable[[], Any], set[str | None]]:
    """Prepares; returns the action, and the pictures that may be the newest after it.

    More than one where the request that should have saved one may have failed.
    """
    from django_latentimg import discards

    def primary_key() -> Any:
        return site.model.objects.get().pk

    if name == "upload":
        return lambda: site.upload("llama.png"), {"llama.png"}
    unharmed(site, lambda: site.upload("llama.png"))
    if name == "compress":
        return site.work, {"llama.png"}
    if name == "replace before":
        return lambda: site.upload("alpaca.png", primary_key()), {"llama.png", "alpaca.png"}
    if name == "sweep":
        site.queue.write_text("")
        site.time_passes()
        return site.sweep, {"llama.png"}
    unharmed(site, site.work)
    if name == "recompress":
        site.field.quality = 80
        return site.recompress, {"llama.png"}
    if name == "replace after":
        return lambda: site.upload("alpaca.png", primary_key()), {"llama.png", "alpaca.png"}
    if name == "delete":
        return lambda: site.delete(primary_key()), {"llama.png", None}
    assert name == "free"
    with override_settings(LATENTIMG={**settings.LATENTIMG, "GRACE": 600}):
        unharmed(site, lambda: site.upload("alpaca.png", primary_key()))
    site.time_passes()
    return discards.free_due, {"alpaca.png"}


SCENARIOS = (
    "upload",
    "compress",
    "replace before",
    "sweep",
    "recompress",
    "replace after",
    "delete",
    "free",
)


def run_once(model: Any, name: str, target: int | None, mode: str, skew: float = 0) -> list[str]:
    """One life of one row with one fault; returns the action's steps."""
    from django.db import connection

    from django_latentimg.models import Compression, Discarded

    model.objects.all().delete()
    Compression.objects.all().delete()
    Discarded.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM commits")
    site = Site(model)
    quality = site.field.quality
    try:
        tripwire.steps, tripwire.target = [], None
        action, newest = scenario(site, name)
        tripwire.steps, tripwire.target, tripwire.mode = [], target, mode
        result = forked(site, action, skew=skew)
        steps = tripwire.steps
        if target is not None and mode.startswith("kill") and result != "killed":
            raise ViolationError(f"was not killed, but returned {result}")
        row = site.model.objects.first()
        last = next(
            (n for n in newest if n and row is not None and row.photo.name.find(n) >= 0), None
        )
        if last is None and None not in newest and name != "upload":
            raise ViolationError("the row is gone, or shows what was never uploaded")
        check(site, last, at_rest=False)
        # A request that stored a file and died before its row: Django's own way to lose a file.
        spare = (
            {"llama.png", "alpaca.png"} - {last} if "upload" in name or "replace" in name else set()
        )
        spare = {file for file in site.files() if any(file.endswith(n) for n in spare)}
        tripwire.steps, tripwire.target = [], None
        unharmed(site, site.recover)
        check(site, last, at_rest=True, spare=spare)
    finally:
        site.field.quality = quality
        site.close()
    return steps


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("scenario", choices=SCENARIOS)
    arguments.add_argument("model", choices=["product", "snapshot"])
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = settings.DATABASES["default"]
        on_postgres = database["ENGINE"].endswith("postgresql")
        name = f"faults_{os.getpid()}"
        if on_postgres:
            import psycopg

            address = {"host": database["HOST"], "port": database["PORT"], "user": database["USER"]}
            with psycopg.connect(dbname="postgres", autocommit=True, **address) as server:
                server.execute(f"CREATE DATABASE {name}")
            database["NAME"] = name
        else:
            database["NAME"] = Path(folder) / "db.sqlite3"
        try:
            django.setup()
            logging.disable()
            told = run(given.scenario, given.model)
        finally:
            if on_postgres:
                from django.db import connections

                connections.close_all()
                with psycopg.connect(dbname="postgres", autocommit=True, **address) as server:
                    server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    print(json.dumps(told))
    sys.exit(bool(told["violations"]))


def run(name: str, model_name: str) -> dict[str, Any]:
    from django.apps import apps

    import tests.conftest  # noqa: F401  (its Celery app, before the tasks are instrumented)
    from django_latentimg import garbage, housekeeping, tasks  # noqa: F401  (before all forks)

    call_command("migrate", run_syncdb=True, verbosity=0)
    model = apps.get_model("testapp", model_name)
    watch_commits(model._meta.db_table)
    instant_blob()  # once, before all forks
    started = time.monotonic()
    faults, violations = 0, []
    labels = run_once(model, name, None, "")
    steps = len(labels)
    attempts = [(target, mode, 0.0) for target in range(steps) for mode in KILLS + FAILURES]
    if not name.startswith(("upload", "replace")):  # Whose file nobody could know otherwise.
        attempts += [(target, "lie", 0.0) for target in range(steps) if labels[target] in LIARS]
    attempts += [(None, "skew", float(skew)) for skew in SKEWS]
    for target, mode, skew in attempts:
        faults += 1
        try:
            run_once(model, name, target, mode, skew)
        except (ViolationError, OSError) as violation:
            step = "" if target is None else f" at {target}, {labels[target]}"
            violations.append(f"{mode}{step}, clock {skew:+.0f} s: {violation!r}")
    return {
        "steps": steps,
        "faults": faults,
        "violations": violations,
        "seconds": round(time.monotonic() - started, 1),
    }


if __name__ == "__main__":
    main()
