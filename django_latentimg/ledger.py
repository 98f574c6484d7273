"""Who writes what into ``Compression``, the ledger of attempts."""

import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import models, router
from django.utils import timezone

from . import links
from .conf import conf
from .models import Compression
from .names import source_of

if TYPE_CHECKING:
    from .fields import LatentImageField

State = Compression.State

GIVEN_UP = 3 * 3600
"""Seconds after which an attempt that has told nothing is taken for dead: thrice the longest."""


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt."""

    state: str
    """A value of ``Compression.State``."""
    reason: str = ""
    """Why it failed; of a compressed picture what the guard chose, ``avif (worse)``."""
    source_bytes: int = 0
    blob_bytes: int = 0


def key(field: "LatentImageField", primary_key: Any, name: str) -> dict[str, Any]:
    """Which entry is a row's picture's."""
    return {
        "source": source_of(name),
        "field": links.label(field),
        "object_id": str(primary_key),
    }


def enter(
    field: "LatentImageField", primary_key: Any, name: str, state: State, *, anew: bool = False
) -> None:
    """That it is queued or, for lack of a broker, not; ``anew``: what failed before is forgiven."""
    values: dict[str, Any] = {"state": state}
    if anew:
        values |= {"attempts": 0, "reason": ""}
    Compression.objects.update_or_create(**key(field, primary_key, name), defaults=values)


def begin(field: "LatentImageField", primary_key: Any, name: str, policy: str) -> Compression:
    """Enter an attempt before it begins, since it may end its process.

    Of one that comes after too many, ``state`` is ``QUARANTINED``.
    """
    attempt, _ = Compression.objects.get_or_create(**key(field, primary_key, name))
    if attempt.state == State.QUARANTINED:
        return attempt
    if attempt.state in (State.COMPRESSED, State.REPLACED):
        attempt.attempts = 0
    changed: dict[str, Any] = {"state": State.STARTED}
    if attempt.attempts >= conf.ATTEMPTS:  # The last one has not lived to say so.
        changed = {
            "state": State.QUARANTINED,
            "reason": attempt.reason or f"No worker lived through it, {attempt.attempts} times.",
        }
    else:
        attempt.attempts += 1
    write(
        attempt,
        **changed,
        attempts=attempt.attempts,
        model=conf.MODEL,
        policy=policy,
        worker=f"{socket.gethostname()}:{os.getpid()}",
    )
    return attempt


def end(attempt: Compression, outcome: Outcome, seconds: float) -> None:
    """What has come of it. What an outcome does not say stays as an earlier one has said it."""
    failed = outcome.state in Compression.FAILING
    write(
        attempt,
        state=outcome.state,
        seconds=seconds,
        reason=outcome.reason if outcome.reason or failed else attempt.reason,
        source_bytes=outcome.source_bytes or attempt.source_bytes,
        blob_bytes=outcome.blob_bytes or attempt.blob_bytes,
    )


def write(attempt: Compression, **values: Any) -> None:
    """These columns only: another worker may be at the same picture."""
    for column, value in values.items():
        setattr(attempt, column, value)
    attempt.save(update_fields=[*values, "updated"])


def is_under_way(field: "LatentImageField", source: str, blob: str) -> bool:
    """Whether somebody may be about to put what was made of the source into a row."""
    return (
        entries()
        .filter(
            source=source,
            field=links.label(field),
            blob=blob,
            state=State.STARTED,
            updated__gte=timezone.now() - timedelta(seconds=GIVEN_UP),
        )
        .exists()
    )


def blobs_of(field: "LatentImageField", source: str) -> set[str]:
    """All that are known to have been made of it."""
    attempts = entries().filter(source=source, field=links.label(field))
    return set(attempts.exclude(blob="").values_list("blob", flat=True))


def entries() -> models.QuerySet[Compression]:
    """On the database that is written to: a replica may lag behind."""
    return Compression.objects.using(router.db_for_write(Compression))


def prune(limit: int = 10_000) -> int:
    """Forget what went well ``LEDGER_DAYS`` ago, at most so many entries; returns how many."""
    old = entries().filter(
        state__in=[State.COMPRESSED, State.REPLACED],
        updated__lt=timezone.now() - timedelta(days=conf.LEDGER_DAYS),
    )
    keys = list(old.values_list("pk", flat=True)[:limit])
    return entries().filter(pk__in=keys).delete()[0]
