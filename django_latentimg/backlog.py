"""Which pictures are to be compressed, from SQL alone, and who compresses them: this process, some
beside it, or Celery's workers. Constant memory over any number of rows."""

import os
import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from multiprocessing import get_context
from typing import Any, Literal, NamedTuple

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from . import compression, ledger, links, workers
from .compression import TryAgainError
from .conf import conf
from .fields import LatentImageField
from .ledger import Outcome, State
from .models import Compression
from .names import EXTENSION, source_of
from .processes import begin

Wanted = Literal["pending", "stale", "failed", "all", "latent"]

Attempt = Callable[[LatentImageField, Any, str], Outcome]
"""``compression.compress`` or ``restore.restore``."""
TryOut = Callable[[LatentImageField, Any, str], tuple[int, int] | None]
"""The same without changing anything: (bytes of the ordinary file, of the blob)."""

PAGE = 500
"""Rows fetched at a time."""
SWEPT = 1000
"""Most pictures of a field that one sweep sends."""
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
    state: Wanted = "pending"
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
        failed = Compression.objects.filter(
            field=links.label(self.field), state__in=Compression.LOST
        )
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
        return rows

    def count(self) -> int:
        if self.before is None:
            return self.rows().count()
        return sum(1 for _ in self.items())

    def items(self) -> Iterator[Item]:
        """A page at a time by primary key: no long transaction, and no cursor that stays open."""
        rows = self.rows().order_by("pk").values_list("pk", self.field.attname)
        page = list(rows[:PAGE])
        while page:
            recent = self._recent(source_of(name) for _, name in page)
            last = page[-1][0]
            random.shuffle(page)  # Else two hosts that do this at once would do the same.
            for primary_key, name in page:
                if source_of(name) not in recent:
                    yield Item(self.field, primary_key, name)
            page = list(rows.filter(pk__gt=last)[:PAGE])

    def take(self) -> Iterator[Item]:
        """The same, to be attempted now: what has failed as if it were new."""
        for item in self.items():
            if self.state == "failed":
                ledger.enter(*item, State.QUEUED, anew=True)
            yield item

    def _recent(self, sources: Iterable[str]) -> set[str]:
        """Those that have been attempted too lately."""
        if self.before is None:
            return set()
        attempts = Compression.objects.filter(
            field=links.label(self.field), source__in=list(sources), updated__gte=self.before
        )
        return set(attempts.values_list("source", flat=True))


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
        yield Done(item, _outcome(attempt, *item))


def beside(items: Iterable[Item], processes: int, attempt: Attempt) -> Generator[Done]:
    """In so many processes; what they have begun is finished if this is closed."""
    source = iter(items)
    # Forked processes would share database connections and torch's threads.
    context = get_context("spawn")
    threads = (workers.threads_of(processes),)
    with ProcessPoolExecutor(processes, context, begin, threads) as pool:
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
    if workers.task("compress_image") is None:
        raise NoAnswerError("Celery is not installed.")
    source = iter(items)
    sent: dict[tuple[str, str, str], Item] = {}
    heard = time.monotonic()
    while True:
        for item in islice(source, window - len(sent)):
            label, primary_key, name = _key(item)
            sent[label, primary_key, source_of(name)] = item
            compression.enqueue(*item, backlog=True)
        if not sent:
            return
        answered = list(_answers(sent))
        for key, outcome in answered:
            yield Done(sent.pop(key), outcome)
        if answered:
            heard = time.monotonic()
        elif time.monotonic() - heard > patience:
            raise NoAnswerError(f"No worker has done anything for {patience:.0f} seconds.")
        else:
            time.sleep(LOOK)


def _answers(
    sent: dict[tuple[str, str, str], Item],
) -> Iterator[tuple[tuple[str, str, str], Outcome]]:
    attempts = ledger.entries().filter(source__in={source for _, _, source in sent})
    for attempt in attempts.exclude(state__in=Compression.OPEN):
        key = attempt.field, attempt.object_id, attempt.source
        if key in sent:
            yield (
                key,
                Outcome(attempt.state, attempt.reason, attempt.source_bytes, attempt.blob_bytes),
            )


def sweep(fields: Iterable[LatentImageField]) -> int:
    """Send again what no worker has got: the broker was down, or a process died; returns how many.

    Not what waits in a queue, nor what has failed for good.
    """
    if not conf.COMPRESS:
        return 0
    return sum(_sweep_ledger(field) + _sweep_rows(field) for field in fields)


def _sweep_ledger(field: LatentImageField) -> int:
    """What should have been queued and was not, or of which nobody has heard for hours."""
    silent = timezone.now() - timedelta(seconds=ledger.GIVEN_UP)
    lost = Q(state=State.UNSENT) | Q(state__in=Compression.OPEN, updated__lt=silent)
    attempts = ledger.entries().filter(lost, field=links.label(field)).order_by("updated")
    sent = 0
    for attempt in attempts[:SWEPT]:
        name = compression.column(field, attempt.object_id)
        if name is None or source_of(name) != attempt.source:
            ledger.write(attempt, state=State.REPLACED)
        elif name.endswith(f"-{compression.fingerprint(field)}{EXTENSION}"):
            ledger.write(attempt, state=State.COMPRESSED)
        else:
            compression.enqueue(field, attempt.object_id, name)
            sent += 1
    return sent


def _sweep_rows(field: LatentImageField) -> int:
    """What the ledger has never heard of."""
    known = Compression.objects.filter(source=OuterRef(field.attname), field=links.label(field))
    rows = Selection(field).rows().filter(~Exists(known)).values_list("pk", field.attname)
    sent = 0
    for primary_key, name in rows[:SWEPT]:
        compression.enqueue(field, primary_key, name, backlog=True)
        sent += 1
    return sent


def _key(item: Item) -> tuple[str, str, str]:
    return links.label(item.field), str(item.primary_key), item.name


def _attempt(attempt: Attempt, label: str, primary_key: str, name: str) -> Outcome:
    """In a process of its own, which a field cannot be sent to."""
    field = links.find_field(label)
    assert field, label
    return _outcome(attempt, field, primary_key, name)


def _outcome(attempt: Attempt, field: LatentImageField, primary_key: Any, name: str) -> Outcome:
    try:
        return attempt(field, primary_key, name)
    except TryAgainError as error:
        return error.outcome


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
    count = selection.count()
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
