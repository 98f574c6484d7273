"""Workers, uploads, deletions and housekeeping at once, in every order that Hypothesis thinks of.

A worker here is a thread with a connection of its own that stops before every call of the storage,
every query and every commit, until it is told to go on.
"""

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connection, connections
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
        self.error: Exception | None = None
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
        except compression.TryAgainError as error:
            self.error = error
        finally:
            connections.close_all()
            self.over = True
            self.stopped.release()

    def pause(self) -> None:
        self.stopped.release()
        self.may_go.acquire()

    def step(self) -> bool:
        """Whether it has come to its next stop; else another one has locked what it wants."""
        if not self.over:
            self.may_go.release()
            return self.stopped.acquire(timeout=BLOCKED)
        return True

    def finish(self) -> None:
        self.may_go.release(1000)
        self.thread.join(timeout=30)
        assert not self.thread.is_alive()
        assert self.error is None


WORKERS: dict[threading.Thread, Worker] = {}


def tripwire(_label: str, call: Any, *_: Any) -> Any:
    worker = WORKERS.get(threading.current_thread())
    if worker is not None:
        worker.pause()
    return call()


class Races(RuleBasedStateMachine):
    """One row, whose picture comes, changes and goes while workers are at it."""

    model: Any
    folder: Path
    running = Bundle("running")

    def __init__(self) -> None:
        super().__init__()
        self.field = self.model._meta.get_field("photo")
        self.number = 0
        self.pictures: list[str] = []
        self.row = self.model.objects.create(photo=self.upload())
        self.pictures.append(self.row.photo.name)
        self.workers: list[Worker] = []

    def upload(self) -> ContentFile:
        self.number += 1
        return ContentFile(PICTURE, f"{self.number}.png")

    @rule(target=running, back=st.integers(0, 1))
    def a_worker_takes_a_task(self, back: int) -> Worker:
        """For the present picture, or late, for one before it."""
        name = self.pictures[max(0, len(self.pictures) - 1 - back)]
        worker = Worker(self.field, self.row.pk, name)
        self.workers.append(worker)
        return worker

    @rule(worker=running, steps=st.integers(1, 12))
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
        fresh = self.model.objects.filter(pk=self.row.pk).first()
        if fresh is None:
            fresh = self.model()
        fresh.photo = self.upload()
        fresh.save()
        self.row = fresh
        self.pictures.append(fresh.photo.name)

    @rule()
    def the_row_is_deleted(self) -> None:
        fresh = self.model.objects.filter(pk=self.row.pk).first()
        if fresh is not None:
            fresh.delete()

    @rule()
    def what_is_due_is_freed(self) -> None:
        discards.free_due()

    @rule()
    def hours_pass(self) -> None:
        """Only where no worker is at work: none lives for hours."""
        if all(worker.over for worker in self.workers):
            Discarded.objects.update(due=timezone.now())

    @invariant()
    def the_newest_picture_is_there(self) -> None:
        row = self.model.objects.filter(pk=self.row.pk).first()
        if row is None:
            return
        assert source_of(row.photo.name) == self.pictures[-1]
        assert (self.folder / row.photo.name).exists()
        if self.field.keep_source or not row.photo.is_latent:
            assert (self.folder / self.pictures[-1]).exists()

    def teardown(self) -> None:
        for worker in self.workers:
            worker.finish()
        backlog.sweep([self.field])
        for _ in range(2):
            for row in self.model.objects.all():
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
        assert max(Counter(faults.committed()).values(), default=0) <= 1, "one commit per upload"
        self.model.objects.all().delete()
        Compression.objects.all().delete()
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM commits")


@pytest.mark.parametrize("model", [Product, Snapshot])
def test_races__the_newest_picture_is_always_there(model, tmp_path, monkeypatch):
    faults.watch_commits(model._meta.db_table)
    monkeypatch.setattr(faults, "tripwire", tripwire)
    monkeypatch.setattr(compression.codec, "encode", faults.encode)
    monkeypatch.setattr(compression, "placeholder", lambda _: "data:,")
    storage = faults.FaultyStorage(location=str(tmp_path / "files"))
    monkeypatch.setattr(model._meta.get_field("photo"), "storage", storage)
    machine = type("Machine", (Races,), {"model": model, "folder": tmp_path / "files"})
    run_state_machine_as_test(
        machine, settings=hypothesis_settings(max_examples=30, stateful_step_count=20)
    )
