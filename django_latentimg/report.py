"""What the ledger and the rows say of a whole site: for the dashboard, the command and metrics.

How many queries that takes does not depend on the number of pictures. ``of_fields`` reads the
ledger once from end to end, and each field's table twice; all else finds what it needs by the
ledger's index of state and time. An entry counts on the day on which it changed last.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from django.db.models import Case, Count, F, Max, Min, Q, Sum, TextField, Value, When
from django.db.models.functions import Replace, TruncDate
from django.utils import timezone

from . import links
from .backlog import Selection
from .codec.guard import REASONS
from .lifecycle import all_fields
from .models import Compression

State = Compression.State

DAYS = 30
"""How far a report looks back."""
CAUSES = 25
"""Most causes of failure that it has."""
RECENT = 1000
"""Pictures compressed last, whose times are the typical ones: all would have to be sorted."""
CUT = "…"
"""What stands for a picture's name in a cause of failure."""

CAUSE = Replace(
    "reason",
    F("source"),  # type: ignore[arg-type]
    Value(CUT),
    output_field=TextField(),
)
"""``cause`` in SQL."""
VERDICTS = {
    f"{kept} ({reason})": (kept, reason) for kept in ("latents", "avif") for reason in REASONS
}
"""What an entry's reason may be after it went well: what the guard kept, and why."""
# Where a blob has no verdict, the reason may be what an earlier attempt has left there.
_VERDICT = Case(
    When(Q(state=State.COMPRESSED, reason__in=list(VERDICTS)), then=F("reason")),
    default=Value(""),
    output_field=TextField(),
)


def cause(reason: str, source: str) -> str:
    """Why a picture failed, without its name, by which one cause would look like many."""
    return reason.replace(source, CUT)


@dataclass
class Savings:
    """What compressed pictures took and take, and what the guard chose."""

    source_bytes: int = 0
    blob_bytes: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    """Pictures by one of ``VERDICTS``; those without are in none."""

    @property
    def saved_bytes(self) -> int:
        return self.source_bytes - self.blob_bytes

    @property
    def saved_share(self) -> float:
        return self.saved_bytes / self.source_bytes if self.source_bytes else 0.0

    @property
    def as_latents(self) -> int:
        return sum(n for verdict, n in self.verdicts.items() if verdict.startswith("latents"))

    @property
    def as_avif(self) -> int:
        return sum(n for verdict, n in self.verdicts.items() if verdict.startswith("avif"))

    @property
    def as_better_avif(self) -> int:
        """Where AVIF of as many bytes was the better picture; otherwise a floor did not hold."""
        return self.verdicts.get("avif (worse)", 0)

    def _add(self, group: dict[str, Any]) -> None:
        """A row of a query: of compressed pictures with one verdict, or of others."""
        if group["state"] != State.COMPRESSED:
            return
        self.source_bytes += group["before"]
        self.blob_bytes += group["after"]
        if verdict := group["verdict"]:
            self.verdicts[verdict] = self.verdicts.get(verdict, 0) + group["pictures"]


@dataclass
class OfField(Savings):
    """One field."""

    label: str = ""
    """``app.model.field``."""
    known: bool = False
    """False where a later release has dropped it."""
    keeps_source: bool = False
    """Then what is saved is what pages and backups of blobs take, not the storage."""
    states: dict[str, int] = field(default_factory=dict)
    """Entries of the ledger."""
    oldest: dict[str, datetime] = field(default_factory=dict)
    """By state, since when an entry has not changed."""
    mean_seconds: float | None = None
    """Of all that is compressed; the other two of what was compressed lately."""
    median_seconds: float | None = None
    p95_seconds: float | None = None
    pending: int = 0
    """Rows that hold a source."""
    stale: int = 0
    """Rows that hold a blob of another policy or model than the field's present one."""

    @property
    def pictures(self) -> int:
        """Compressed ones."""
        return self.states.get(State.COMPRESSED, 0)

    @property
    def lost(self) -> int:
        return sum(self.states.get(state, 0) for state in Compression.LOST)


@dataclass
class Day(Savings):
    day: date = date.min
    compressed: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Cause:
    """Failures that only differ in the picture's name."""

    field: str
    state: str
    text: str
    pictures: int
    latest: datetime


@dataclass(frozen=True)
class Report:
    made: datetime
    fields: list[OfField]
    days: list[Day]
    """Without gaps, the last one is today."""
    causes: list[Cause]

    @property
    def total(self) -> OfField:
        """Over all fields; without times."""
        total = OfField()
        for of_field in self.fields:
            total.source_bytes += of_field.source_bytes
            total.blob_bytes += of_field.blob_bytes
            total.pending += of_field.pending
            total.stale += of_field.stale
            for mine, theirs in (
                (total.states, of_field.states),
                (total.verdicts, of_field.verdicts),
            ):
                for key, count in theirs.items():
                    mine[key] = mine.get(key, 0) + count
        return total

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "made": self.made,
            "fields": [_with_saved(of_field) for of_field in self.fields],
            "days": [_with_saved(day) for day in self.days],
            "causes": [asdict(found) for found in self.causes],
        }


def _with_saved(savings: Savings) -> dict[str, Any]:
    own = {field.name for field in fields(savings)} - {field.name for field in fields(Savings)}
    data = asdict(savings)
    # What it is of comes first.
    return (
        {key: data[key] for key in data if key in own} | data | {"saved_bytes": savings.saved_bytes}
    )


def make(days: int = DAYS) -> Report:
    return Report(timezone.now(), of_fields(), by_day(days), causes())


def of_fields() -> list[OfField]:
    """Every field of the site, and those that only the ledger remembers."""
    found: dict[str, OfField] = {}
    for latent_field in all_fields():
        label = links.label(latent_field)
        found[label] = OfField(
            label=label,
            known=True,
            keeps_source=latent_field.keep_source,
            pending=Selection(latent_field, "pending").count(),
            stale=Selection(latent_field, "stale").count(),
        )
    seconds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])
    for group in _grouped(
        "field",
        "state",
        timed=Count("pk", filter=Q(seconds__gt=0)),
        seconds=Sum("seconds"),
        oldest=Min("updated"),
    ):
        label, state = group["field"], group["state"]
        of_field = found.setdefault(label, OfField(label=label))
        of_field._add(group)
        of_field.states[state] = of_field.states.get(state, 0) + group["pictures"]
        of_field.oldest[state] = min(group["oldest"], of_field.oldest.get(state, group["oldest"]))
        if state == State.COMPRESSED:
            seconds[label][0] += group["seconds"]
            seconds[label][1] += group["timed"]
    recent = _recent_seconds()
    for label, of_field in found.items():
        total, timed = seconds[label]
        of_field.mean_seconds = total / timed if timed else None
        if label in recent:
            of_field.median_seconds, of_field.p95_seconds = recent[label]
    return sorted(found.values(), key=lambda of_field: of_field.label)


def by_day(days: int = DAYS) -> list[Day]:
    """In the current time zone."""
    now = timezone.now()
    today = (timezone.localtime(now) if timezone.is_aware(now) else now).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    first = today - timedelta(days=days - 1)
    dates = [first.date() + timedelta(days=number) for number in range(days)]
    found = {day: Day(day=day) for day in dates}
    recent = Compression.objects.filter(
        state__in=(State.COMPRESSED, *Compression.LOST), updated__gte=first
    ).annotate(day=TruncDate("updated"))
    for group in _grouped("day", "state", entries=recent):
        day = found.get(group["day"])
        if day is None:
            continue  # A clock that is ahead of ours.
        day._add(group)
        if group["state"] == State.COMPRESSED:
            day.compressed += group["pictures"]
        else:
            day.failed += group["pictures"]
    return list(found.values())


def causes() -> list[Cause]:
    """The most frequent first."""
    groups = (
        Compression.objects.filter(state__in=Compression.FAILING)
        .values("field", "state", text=CAUSE)
        .annotate(pictures=Count("pk"), latest=Max("updated"))
        .order_by("-pictures", "text", "field", "state")
    )
    return [Cause(**group) for group in groups[:CAUSES]]


def _grouped(*columns: str, entries: Any = None, **aggregates: Any) -> Iterable[dict[str, Any]]:
    """Pictures and bytes by these columns and the verdict."""
    if entries is None:
        entries = Compression.objects.all()
    groups: Iterable[dict[str, Any]] = (
        entries.annotate(verdict=_VERDICT)
        .values(*columns, "verdict")
        .annotate(
            pictures=Count("pk"),
            before=Sum("source_bytes"),
            after=Sum("blob_bytes"),
            **aggregates,
        )
        .order_by()
    )
    return groups


def _recent_seconds() -> dict[str, tuple[float, float]]:
    """Median and 95th percentile by field."""
    latest = Compression.objects.filter(state=State.COMPRESSED).order_by("-updated")
    by_field: dict[str, list[float]] = defaultdict(list)
    for label, seconds in latest.values_list("field", "seconds")[:RECENT]:
        if seconds:
            by_field[label].append(seconds)
    found = {}
    for label, values in by_field.items():
        median, p95 = np.percentile(values, [50, 95])
        found[label] = float(median), float(p95)
    return found
