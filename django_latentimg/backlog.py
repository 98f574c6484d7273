"""Which pictures are to be compressed, from SQL alone, and who compresses them: this process, some
beside it, or Celery's workers. Constant memory over any number of rows."""

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from multiprocessing import get_context
from typing import Any, Literal, NamedTuple, get_args

from django.db import models
from django.db.models import Q
from django.utils import timezone

from . import compression, links, workers
from .compression import Outcome
from .fields import LatentImageField
from .models import Compression
from .names import EXTENSION, source_of
from .processes import begin

State = Literal["pending", "stale", "failed", "all", "latent"]
STATES: tuple[State, ...] = get_args(State)

Attempt = Callable[[LatentImageField, Any, str], Outcome]
"""``compression.compress`` or ``restore.restore``."""
TryOut = Callable[[LatentImageField, Any, str], tuple[int, int] | None]
"""The same without changing anything: (bytes of the ordinary file, of the blob)."""

PAGE = 500
"""Rows fetched at a time."""
LOOK = 0.5
"""Seconds between two looks for what workers have done."""


class Item(NamedTuple):
    """A row's picture."""

    field: LatentImageField
    primary_key: Any
    name: str
    """What its column holds."""


class Done(NamedTuple):
    item: Item
    outcome: Outcome


class NoAnswerError(Exception):
    """No worker has done anything for a long time."""


@dataclass(frozen=True)
class Selection:
    """Rows of one field.

    ``state``: ``pending`` rows hold a source; ``stale`` ones a blob of another policy or model
    than the field's present one; the last attempt at ``failed`` ones did; ``all`` have a picture,
    ``latent`` ones a blob.
    """

    field: LatentImageField
    state: State = "pending"
    first: Any = None
    """Smallest primary key."""
    last: Any = None
    """Largest primary key."""
    before: datetime | None = None
    """Only what has not been attempted since."""

    def rows(self) -> models.QuerySet[Any]:
        column = self.field.attname
        blob = Q(**{f"{column}__endswith": EXTENSION})
        current = Q(**{f"{column}__endswith": f"-{compression.fingerprint(self.field)}{EXTENSION}"})
        attempts = Compression.objects.filter(field=links.label(self.field))
        failed = attempts.filter(state=Compression.State.FAILED)
        wanted = {
            "pending": ~blob,
            "stale": blob & ~current,
            "failed": Q(**{f"{column}__in": failed.values("source")})
            | Q(**{f"{column}__in": failed.values("blob")}),
            "all": Q(),
            "latent": blob,
        }[self.state]
        rows = self.field.model._base_manager.filter(wanted).exclude(**{column: ""})
        rows = rows.exclude(**{f"{column}__isnull": True})
        if self.first is not None:
            rows = rows.filter(pk__gte=self.first)
        if self.last is not None:
            rows = rows.filter(pk__lte=self.last)
        if self.before is not None:
            since = attempts.filter(updated__gte=self.before)
            rows = rows.exclude(**{f"{column}__in": since.values("source")})
            rows = rows.exclude(**{f"{column}__in": since.values("blob")})
        return rows

    def items(self) -> Iterator[Item]:
        """A page at a time by primary key: no long transaction, and no cursor that stays open."""
        rows = self.rows().order_by("pk").values_list("pk", self.field.attname)
        page = list(rows[:PAGE])
        while page:
            for primary_key, name in page:
                yield Item(self.field, primary_key, name)
            page = list(rows.filter(pk__gt=page[-1][0])[:PAGE])


def paced(items: Iterable[Item], rate: float | None, load: float | None) -> Iterator[Item]:
    """At most ``rate`` a second, and none while the machine's load is above ``load``."""
    due = time.monotonic()
    for item in items:
        while load is not None and os.getloadavg()[0] > load:
            time.sleep(1)
        if rate:
            due = max(due, time.monotonic())
            time.sleep(max(0, due - time.monotonic()))
            due += 1 / rate
        yield item


def here(items: Iterable[Item], attempt: Attempt) -> Generator[Done]:
    """In this process."""
    for item in items:
        yield Done(item, attempt(*item))


def beside(items: Iterable[Item], processes: int, attempt: Attempt) -> Generator[Done]:
    """In so many processes; what they have begun is finished if this is closed."""
    source = iter(items)
    # Forked processes would share database connections and torch's threads.
    context = get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // processes)
    with ProcessPoolExecutor(processes, context, begin, (threads,)) as pool:
        running: dict[Future[Outcome], Item] = {}
        try:
            while True:
                for item in islice(source, 2 * processes - len(running)):
                    running[pool.submit(_attempt, attempt, *_key(item))] = item
                if not running:
                    return
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield Done(running.pop(future), future.result())
        finally:
            pool.shutdown(cancel_futures=True)


def by_workers(items: Iterable[Item], window: int, patience: float) -> Generator[Done]:
    """By Celery's workers, at most ``window`` at a time.

    What became of each is in the ledger, so no result backend is needed. Raises ``NoAnswerError``
    when nothing has been done for ``patience`` seconds; what was sent stays in the queue.
    """
    task = workers.task("compress_image")
    if task is None:
        raise NoAnswerError("Celery is not installed.")
    source = iter(items)
    sent: dict[tuple[str, str, str], tuple[Item, datetime]] = {}
    heard = time.monotonic()
    while True:
        for item in islice(source, window - len(sent)):
            label, primary_key, name = _key(item)
            model, _, field = label.rpartition(".")
            sent[label, primary_key, source_of(name)] = item, timezone.now()
            task.delay(model, primary_key, field, name)
        if not sent:
            return
        answered = list(_answers(sent))
        for key, outcome in answered:
            yield Done(sent.pop(key)[0], outcome)
        if answered:
            heard = time.monotonic()
        elif time.monotonic() - heard > patience:
            raise NoAnswerError(f"No worker has done anything for {patience:.0f} seconds.")
        else:
            time.sleep(LOOK)


def _answers(
    sent: dict[tuple[str, str, str], tuple[Item, datetime]],
) -> Iterator[tuple[tuple[str, str, str], Outcome]]:
    since = min(moment for _, moment in sent.values())
    attempts = Compression.objects.filter(
        updated__gte=since, source__in={source for _, _, source in sent}
    ).exclude(state=Compression.State.STARTED)
    for attempt in attempts:
        key = attempt.field, attempt.object_id, attempt.source
        if key in sent and attempt.updated >= sent[key][1]:
            yield (
                key,
                Outcome(attempt.state, attempt.reason, attempt.source_bytes, attempt.blob_bytes),
            )


def _key(item: Item) -> tuple[str, str, str]:
    return links.label(item.field), str(item.primary_key), item.name


def _attempt(attempt: Attempt, label: str, primary_key: str, name: str) -> Outcome:
    """In a process of its own, which a field cannot be sent to."""
    field = links.find_field(label)
    assert field, label
    return attempt(field, primary_key, name)


@dataclass(frozen=True)
class Estimate:
    """What compressing or restoring a selection would come to, by a sample of it."""

    pictures: int
    sample: int
    source_bytes: float
    """Of one, in the mean; 0 without a sample."""
    blob_bytes: float
    seconds: float


def estimate(selection: Selection, sample: int, try_out: TryOut) -> Estimate:
    """Tries some of the pictures, spread over the primary keys, and changes nothing."""
    rows = selection.rows().order_by("pk").values_list("pk", selection.field.attname)
    count = rows.count()
    found: list[tuple[int, int, float]] = []
    for number in range(min(sample, count)):
        primary_key, name = rows[number * count // min(sample, count)]
        started = time.monotonic()
        sizes = try_out(selection.field, primary_key, name)
        if sizes:
            found.append((*sizes, time.monotonic() - started))
    means = (
        [sum(column) / len(found) for column in zip(*found, strict=True)] if found else [0.0] * 3
    )
    return Estimate(count, len(found), *means)


def days_ago(days: float | None) -> datetime | None:
    return None if days is None else timezone.now() - timedelta(days=days)
