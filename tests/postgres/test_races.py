"""Workers, uploads, deletions and housekeeping at once, in every order that Hypothesis thinks of.

A worker here is a thread with a connection of its own that stops before every call of the storage,
every query and every commit, until it is told to go on.
"""

import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from django_latentimg import backlog, compression, discards
from django_latentimg.models import Compression, Discarded
from django_latentimg.names import source_of
from tests import faults
from tests.conftest import image_bytes, picture
from tests.testapp.models import Product, Snapshot

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("enqueued")]

BLOCKED = 0.3
"""Seconds without a step after which a worker waits for a lock of another one."""
PICTURE = image_bytes(picture(32, 24))


class Worker:
    """One ``compress`` that goes on step by step."""

    def __init__(self, field: Any, primary_key: Any, name: str) -> None:
        self.may_go = threading.Semaphore(0)
        self.stopped = threading.Semaphore(0)
        self.over = False
        self.arguments = field, primary_key, name
        self.steps = 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        WORKERS[self.thread] = self
        self.thread.start()
        self.stopped.acquire()

    def run(self) -> None:
        self.pause()
        connection.execute_wrappers.append(
            lambda execute, *arguments: faults.tripwire(
                "query", lambda: execute(*arguments), OSError
            )
        )
        commit = connection.commit
        connection.commit = lambda: faults.tripwire("commit", commit, OSError)  # type: ignore
        try:
            compression.compress(*self.arguments)
        except compression.TryAgainError:
            pass  # Its blob was discarded under its eyes: the next attempt will see why.
        finally:
            connections.close_all()
            self.over = True
            self.stopped.release()

    def pause(self) -> None:
        self.stopped.release()
        self.may_go.acquire()

    def step(self) -> bool:
        """Whether it has come to its next stop; else another one has locked what it wants."""
        if self.over:
            return True
        self.steps += 1
        self.may_go.release()
        return self.stopped.acquire(timeout=BLOCKED)


WORKERS: dict[threading.Thread, Worker] = {}


def tripwire(_label: str, call: Any, *_: Any) -> Any:
    worker = WORKERS.get(threading.current_thread())
    if worker is not None:
        worker.pause()
    return call()


def locks() -> list[Any]:
    """Who waits for whom, for the message of a failure."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, state, wait_event, pg_blocking_pids(pid), query FROM pg_stat_activity "
            "WHERE datname = current_database()"
        )
        return cursor.fetchall()


class Races(RuleBasedStateMachine):
    """A row whose picture comes, changes and goes while workers are at it, and a copy of it."""

    model: Any
    folder: Path
    running = Bundle("running")

    def __init__(self) -> None:
        super().__init__()
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '200ms'")  # of what is done at once, here
        self.field = self.model._meta.get_field("photo")
        self.number = 0
        self.workers: list[Worker] = []
        row = self.model.objects.create(photo=self.upload())
        self.primary_key = row.pk
        self.pictures = [row.photo.name]
        self.copy = self.model.objects.create(photo=row.photo.name)

    def upload(self) -> ContentFile:
        self.number += 1
        return ContentFile(PICTURE, f"{self.number}.png")

    def begin(self, primary_key: Any, name: str) -> Worker:
        self.workers.append(Worker(self.field, primary_key, name))
        return self.workers[-1]

    @rule(target=running)
    def a_worker_takes_a_task(self) -> Worker:
        return self.begin(self.primary_key, self.pictures[-1])

    @rule(target=running)
    def a_worker_takes_an_old_task(self) -> Worker:
        return self.begin(self.primary_key, self.pictures[max(0, len(self.pictures) - 2)])

    @rule(target=running)
    def a_worker_takes_the_copy(self) -> Worker:
        return self.begin(self.copy.pk, self.pictures[0])

    @rule(worker=running, steps=st.integers(1, 26))
    def a_worker_goes_on(self, worker: Worker, steps: int) -> None:
        for _ in range(steps):
            if not worker.step():
                return

    @rule(worker=consumes(running))
    def a_worker_finishes(self, worker: Worker) -> None:
        worker.may_go.release(1000)
        worker.thread.join(timeout=BLOCKED)

    @rule()
    def the_picture_is_replaced(self) -> None:
        row = self.model.objects.filter(pk=self.primary_key).first() or self.model()
        row.photo = self.upload()
        try:
            with transaction.atomic():
                row.save()
        except OperationalError:  # A worker holds the row.
            (self.folder / row.photo.name).unlink()
            return
        self.primary_key = row.pk
        self.pictures.append(row.photo.name)

    @rule()
    def the_row_is_deleted(self) -> None:
        row = self.model.objects.filter(pk=self.primary_key).first()
        if row is not None:
            with suppress(OperationalError), transaction.atomic():
                row.delete()

    @rule()
    def what_is_due_is_freed(self) -> None:
        with suppress(OperationalError):
            discards.free_due()

    @rule()
    def hours_pass(self) -> None:
        """Only where no worker is at work: none lives for hours."""
        if all(worker.over for worker in self.workers):
            Discarded.objects.update(due=timezone.now())

    @invariant()
    def the_newest_picture_is_there(self) -> None:
        for primary_key, newest in (
            (self.primary_key, self.pictures[-1]),
            (self.copy.pk, self.pictures[0]),
        ):
            row = self.model.objects.filter(pk=primary_key).first()
            if row is None:
                continue
            assert source_of(row.photo.name) == newest
            assert (self.folder / row.photo.name).exists()
            if self.field.keep_source:
                assert (self.folder / newest).exists()

    def teardown(self) -> None:
        for worker in self.workers:
            worker.may_go.release(1000)
        for worker in self.workers:
            worker.thread.join(timeout=30)
            assert not worker.thread.is_alive(), locks()
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = 0")
        backlog.sweep([self.field])
        for _ in range(2):
            for row in self.model.objects.exclude(photo__endswith=".limg"):
                compression.compress(self.field, row.pk, row.photo.name)
            Discarded.objects.update(due=timezone.now())
            discards.free_due()
        needed = set()
        for row in self.model.objects.all():
            assert row.photo.is_latent
            needed.add(row.photo.name)
            if self.field.keep_source:
                needed.add(source_of(row.photo.name))
        files = {
            str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()
        }
        assert files == needed
        commits = Counter(faults.committed())
        commits[self.pictures[0]] -= 1  # the copy's
        assert max(commits.values(), default=0) <= 1, "one commit per upload"
        self.model.objects.all().delete()
        Compression.objects.all().delete()
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM commits")


@pytest.fixture(params=[Product, Snapshot])
def machine(request, tmp_path, monkeypatch) -> type[Races]:
    model = request.param
    faults.watch_commits(model._meta.db_table)
    monkeypatch.setattr(faults, "tripwire", tripwire)
    monkeypatch.setattr(compression.codec, "encode", faults.encode)
    monkeypatch.setattr(compression, "placeholder", lambda _: "data:,")
    storage = faults.FaultyStorage(location=str(tmp_path / "files"))
    monkeypatch.setattr(model._meta.get_field("photo"), "storage", storage)
    return type("Machine", (Races,), {"model": model, "folder": tmp_path / "files"})


def test_races__the_newest_picture_is_always_there(machine):
    run_state_machine_as_test(
        machine, settings=hypothesis_settings(max_examples=40, stateful_step_count=20)
    )


OTHERS = {
    "replaced": ["the_picture_is_replaced"],
    "deleted": ["the_row_is_deleted"],
    "deleted and made anew": ["the_row_is_deleted", "the_picture_is_replaced"],
    "compressed by another": ["another"],
    "compressed by another and replaced": ["another", "the_picture_is_replaced"],
    "copy compressed": ["the copy"],
    "replaced and copy compressed": ["the_picture_is_replaced", "the copy"],
    "replaced while another was at it": ["another, in vain"],
}


@pytest.mark.parametrize("others", OTHERS.values(), ids=OTHERS)
def test_races__at_every_step_of_a_worker(machine, others):
    """What others do, done whole between each two steps of a worker."""
    for steps in range(30):
        races = machine()
        in_vain = "another, in vain" in others
        worker = races.a_worker_takes_the_copy() if in_vain else races.a_worker_takes_a_task()
        races.a_worker_goes_on(worker, steps)
        for other in others:
            if other == "another":
                races.a_worker_finishes(races.a_worker_takes_a_task())
            elif other == "another, in vain":
                # It has written the same blob, and then finds its row changed.
                late = races.a_worker_takes_a_task()
                races.a_worker_goes_on(late, 10)
                races.the_picture_is_replaced()
                races.a_worker_finishes(late)
            elif other == "the copy":
                races.a_worker_finishes(races.a_worker_takes_the_copy())
            else:
                getattr(races, other)()
            races.the_newest_picture_is_there()
        races.a_worker_finishes(worker)
        races.the_newest_picture_is_there()
        races.teardown()
        if worker.over and worker.steps < steps:
            return
    pytest.fail("The worker never came to its end.")


def test_races__a_blob_that_is_being_deleted_is_written_again(upload, media, monkeypatch):
    """Somebody has looked whether it is needed, and is about to delete it, when a worker comes that
    makes the same blob of the same picture."""
    field = Product._meta.get_field("photo")
    monkeypatch.setattr(compression.codec, "encode", faults.encode)
    monkeypatch.setattr(compression, "placeholder", lambda _: "data:,")
    row = Product.objects.create(photo=upload(width=32, height=24))
    source = row.photo.name
    compression.compress(field, row.pk, source)
    blob = Product.objects.get().photo.name
    # As if the worker had been killed before its commit, hours ago.
    Product.objects.update(photo=source)
    Compression.objects.all().delete()
    discards.enter_all(field, [blob], using="default")

    about_to, may_go = threading.Event(), threading.Event()
    delete = FileSystemStorage.delete

    def late(storage: FileSystemStorage, name: str) -> None:
        about_to.set()
        assert may_go.wait(10)
        delete(storage, name)

    def alone(function: Any, *arguments: Any) -> None:
        try:
            function(*arguments)
        finally:
            connections.close_all()

    monkeypatch.setattr(FileSystemStorage, "delete", late)
    threads = [
        threading.Thread(target=alone, args=(discards.free_due,)),
        threading.Thread(target=alone, args=(compression.compress, field, row.pk, source)),
    ]
    threads[0].start()
    assert about_to.wait(10)
    threads[1].start()
    threads[1].join(timeout=2 * BLOCKED)  # It waits, or would be through by now.
    may_go.set()
    for thread in threads:
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert Product.objects.get().photo.name == blob
    assert (media / blob).exists()
