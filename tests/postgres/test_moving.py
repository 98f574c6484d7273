"""A site moves in and out again while it is read and written all the time."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest
from django.apps import apps
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import connection, connections, migrations, models
from django.db.migrations.state import ProjectState
from django.test import Client
from PIL import Image

from django_latentimg import codec, operations, tasks
from django_latentimg.backlog import Selection
from django_latentimg.codec import Latent
from django_latentimg.names import BlobName
from tests.conftest import image_bytes, picture
from tests.moving import site
from tests.moving.models import Page

PHOTO: Any = Page._meta.get_field("photo")

pytestmark = pytest.mark.django_db(transaction=True)


class Traffic:
    """Threads that do their work over and over; the first error of any of them is raised."""

    def __init__(self) -> None:
        self.uploads: dict[str, bytes] = {}
        """What has been uploaded, by its stored name."""
        self.errors: list[BaseException] = []
        self.rounds: dict[str, int] = {}
        self.longest = 0.0
        """Seconds that somebody has waited for the database."""
        self._stops: dict[str, tuple[threading.Event, threading.Thread]] = {}

    def start(self, work: Callable[[], None]) -> None:
        name, stop = work.__qualname__, threading.Event()
        self.rounds[name] = 0

        def loop() -> None:
            try:
                while not stop.is_set():
                    work()
                    self.rounds[name] += 1
                    time.sleep(0.01)
            except BaseException as error:
                self.errors.append(error)
            finally:
                connections.close_all()

        thread = threading.Thread(target=loop, name=name)
        self._stops[name] = stop, thread
        thread.start()

    def stop(self, *works: Callable[[], None]) -> None:
        names = [work.__qualname__ for work in works] or list(self._stops)
        for name in names:
            self._stops[name][0].set()
        for name in names:
            self._stops.pop(name)[1].join()
        self.check()

    def check(self) -> None:
        for error in self.errors:
            raise error

    def pass_by(self, rounds: int = 3) -> None:
        """Wait until each has done its work some times more."""
        until = {name: self.rounds[name] + rounds for name in self._stops}
        deadline = time.monotonic() + 120
        while any(self.rounds[name] < count for name, count in until.items()):
            self.check()
            assert time.monotonic() < deadline, self.rounds
            time.sleep(0.02)
        self.check()

    @contextmanager
    def timed(self) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.longest = max(self.longest, time.monotonic() - started)

    # The nodes of the site

    def upload(self) -> ContentFile:
        """A picture like no other, with a name like no other."""
        number = len(self.uploads) + int(time.monotonic_ns())
        content = image_bytes(picture(96, 64, seed=number % 2**32), "JPEG", quality=90)
        return ContentFile(content, f"{threading.current_thread().name[-4:]}{number}.jpg")

    def stored(self, row: Any, content: ContentFile) -> None:
        content.seek(0)
        self.uploads[row.photo.name] = content.read()

    def old_writer(self, model: Any) -> Callable[[], None]:
        def old_write() -> None:
            content = self.upload()
            row = model(photo=content)
            with self.timed():
                row.save()
            self.stored(row, content)
            time.sleep(0.1)

        return old_write

    def old_reader(self, model: Any) -> Callable[[], None]:
        """Knows ordinary files only."""

        def old_read() -> None:
            with self.timed():
                rows = list(model.objects.order_by("-pk")[:20])
            for row in rows:
                with row.photo.open() as file, Image.open(file) as shown:
                    shown.load()

        return old_read

    def new_write(self) -> None:
        """Insert a row, replace the picture of another one, rename a third."""
        stale = Page.objects.order_by("?").first()
        content = self.upload()
        row = Page.objects.create(photo=content)
        self.stored(row, content)
        other = Page.objects.order_by("?").first()
        if self.rounds["Traffic.new_write"] % 5 == 0 and other:
            other.photo = content = self.upload()
            other.save()
            self.stored(other, content)
        if stale:
            stale.title = "renamed"
            stale.save()
        time.sleep(0.1)

    def read_files(self) -> None:
        for key in list(Page.objects.order_by("?").values_list("pk", flat=True)[:20]):
            look(key)

    def fetch_pages(self) -> None:
        """What a browser shows of a page that was rendered a moment ago."""
        client = Client()
        rows = list(Page.objects.order_by("?")[:5])
        for row in rows:
            response = client.get(row.photo.rendition(320, "webp").url)
            assert response.status_code == 200, (row.photo.name, response.content)
            with Image.open(io.BytesIO(response.content)) as shown:
                shown.load()
                assert shown.size == (96, 64)


def look(key: Any) -> None:
    """The row's picture, as whoever asks for the row now finds it."""
    before = None
    while True:
        name = Page.objects.values_list("photo", flat=True).get(pk=key)
        try:
            with PHOTO.storage.open(name) as file:
                content = file.read()
            break
        except FileNotFoundError:
            assert name != before, f"{name} is missing"
            before = name  # It has been compressed since, or replaced.
    if BlobName.parse(name):
        assert (Latent.from_bytes(content).width, Latent.from_bytes(content).height) == (96, 64)
    else:
        with Image.open(io.BytesIO(content)) as shown:
            shown.load()
            assert shown.size == (96, 64)


def count(state: Any) -> int:
    return Selection(PHOTO, state).rows().count()


def command(*arguments: str) -> None:
    call_command("recompress_images", "moving.Page", *arguments, stdout=io.StringIO(), verbosity=0)


@pytest.mark.parametrize("keep_source", [True, False])
def test_moving__in_and_out_under_traffic(keep_source, settings, monkeypatch):
    blob = (Path(__file__).parent.parent / "golden" / "v5" / "opaque.limg").read_bytes()
    monkeypatch.setattr(codec, "encode", lambda *_, **__: blob)
    monkeypatch.setattr(PHOTO, "keep_source", keep_source)
    monkeypatch.setattr(operations, "PAUSE", 0.2)
    for operation in site.operations():
        monkeypatch.setattr(operation, "lock_timeout", 0.3)
    queue: SimpleQueue[tuple[str, ...]] = SimpleQueue()
    monkeypatch.setattr(tasks.compress_image, "delay", lambda *sent: queue.put(sent))
    monkeypatch.setattr(tasks.free_discarded, "apply_async", lambda **_: None)

    def work() -> None:
        with suppress(Empty):
            tasks.compress_image(*queue.get(timeout=0.05))

    off, on = {"COMPRESS": False, "GRACE": 600}, {"COMPRESS": True, "GRACE": 600}
    settings.LATENTIMG = settings.LATENTIMG | off
    traffic = Traffic()
    with site.not_moved_in() as old:
        old_write, old_read = traffic.old_writer(old), traffic.old_reader(old)
        traffic.start(old_write)
        traffic.start(old_read)
        try:
            traffic.pass_by()

            # The migration, behind a long transaction of somebody else's.
            traffic.longest = 0.0
            begun = threading.Event()
            holder = threading.Thread(
                target=site.hold, args=(old, begun.set, lambda: time.sleep(5))
            )
            holder.start()
            assert begun.wait(10)
            site.migrate(site.LATENT)
            holder.join()
            traffic.pass_by()
            assert traffic.longest < 2.5, "nobody waits as long as the long transaction takes"

            # Nodes with the new code beside those with the old one; then these are gone.
            for new in (traffic.new_write, traffic.read_files, traffic.fetch_pages):
                traffic.start(new)
            traffic.pass_by()
            assert count("latent") == 0
            traffic.stop(old_write, old_read)

            # Pictures are compressed: the new ones by a worker, the backlog by the command.
            settings.LATENTIMG = settings.LATENTIMG | on
            traffic.start(work)
            command()
            traffic.pass_by()
            assert count("latent") > 10

            # And out: what was on its way is finished, then blobs become ordinary files.
            settings.LATENTIMG = settings.LATENTIMG | off
            traffic.pass_by(2)
            traffic.stop(work)
            while count("latent"):
                command("--restore")
            traffic.pass_by()
            assert count("latent") == 0
        finally:
            traffic.stop()
        leave_and_look(traffic, keep_source)


def leave_and_look(traffic: Traffic, keep_source: bool) -> None:
    """The field is an ``ImageField`` again; what do its rows show?"""
    state = ProjectState.from_apps(apps)
    plain = models.ImageField(upload_to="pages/", max_length=255)
    out = migrations.AlterField("page", "photo", plain)
    after = state.clone()
    out.state_forwards("moving", after)
    with connection.schema_editor() as editor:
        out.database_forwards("moving", editor, state, after)
    rows = list(after.apps.get_model("moving", "Page").objects.all())
    assert len(rows) > 10
    decoded = 0
    for row in rows:
        assert type(row._meta.get_field("photo")) is models.ImageField
        with row.photo.open() as file:
            content = file.read()
        with Image.open(io.BytesIO(content)) as shown:
            shown.load()
        if row.photo.name in traffic.uploads:
            assert content == traffic.uploads[row.photo.name]
        else:
            decoded += 1
            assert shown.format == "JPEG"
    assert (decoded > 0) == (not keep_source)
