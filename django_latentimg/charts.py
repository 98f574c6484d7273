"""Bars by day as SVG, for ``templates/django_latentimg/chart.html``.

The picture is drawn in a square of its own units and stretched to whatever room there is, so all
words stand beside it, in HTML. Colours come from the style sheet, by the name of a series.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from django.template.defaultfilters import date, filesizeformat
from django.utils.formats import number_format

from .report import Day

STEP, WIDTH, HEIGHT = 100, 76, 1000
"""From bar to bar, of a bar, of the whole."""


class Series(NamedTuple):
    """One colour of a chart."""

    name: str
    """For the style sheet: ``good``, ``bad``, ``other``, ``warn``."""
    label: str
    of: Callable[[Day], int]


class Part(NamedTuple):
    series: str
    y: int
    height: int


@dataclass(frozen=True)
class Bar:
    x: int
    title: str
    parts: list[Part]


@dataclass(frozen=True)
class Chart:
    name: str
    """Unique in the page."""
    title: str
    description: str
    """For those who do not see it."""
    series: Sequence[Series]
    bars: list[Bar]
    scale: list[str]
    """Words beside the chart, the topmost first."""
    days: list[str]
    """Below it: the first day, the middle, the last."""
    empty: bool

    width = property(lambda self: STEP * len(self.bars))
    height = HEIGHT
    bar_width = WIDTH


def stacked(
    name: str,
    title: str,
    days: Sequence[Day],
    series: Sequence[Series],
    *,
    tell: Callable[[int], str] = lambda value: amount(value),
    nice: Callable[[int], int] = lambda value: round_up(value),
    shares: bool = False,
) -> Chart:
    """``shares``: every day's bar has the full height, whatever its sum."""
    sums = [sum(one.of(day) for one in series) for day in days]
    top = nice(max(sums, default=0))
    bars = [
        Bar(
            STEP * number + (STEP - WIDTH) // 2,
            f"{date(day.day)}: "
            + ", ".join(f"{tell(max(0, one.of(day)))} {one.label}" for one in series),
            _parts(day, series, (total if shares else top) or 1),
        )
        for number, (day, total) in enumerate(zip(days, sums, strict=True))
    ]
    in_all = ", ".join(
        f"{tell(sum(max(0, one.of(day)) for day in days))} {one.label}" for one in series
    )
    return Chart(
        name=name,
        title=title,
        description=f"{date(days[0].day)} to {date(days[-1].day)}, in all {in_all}.",
        series=series,
        bars=bars,
        scale=["100 %", "50 %", "0"] if shares else [tell(top), tell(top // 2), "0"],
        days=[date(days[at].day, "j M") for at in (0, len(days) // 2, -1)],
        empty=not any(sums),
    )


def _parts(day: Day, series: Sequence[Series], top: int) -> list[Part]:
    parts: list[Part] = []
    y = HEIGHT
    for one in series:
        value = max(0, one.of(day))
        # What there is can be seen, however little it is.
        height = max(6, round(HEIGHT * value / top)) if value else 0
        y -= height
        parts.append(Part(one.name, max(0, y), height))
    return [part for part in parts if part.height]


def amount(number: int) -> str:
    """``12,345``, as the language has it."""
    return number_format(number, use_l10n=True, force_grouping=True)


def round_up(value: int, base: int = 1) -> int:
    """To two, four, six, eight, ten … times ten, times a hundred and so on, of ``base``."""
    unit = base
    while value > 10 * unit:
        unit *= 10
    return max(2 * unit, -(-value // (2 * unit)) * 2 * unit)


def round_up_bytes(value: int) -> int:
    unit = 1
    while value >= 1024 * unit:
        unit *= 1024
    return round_up(value, unit)


def saved(day: Day) -> int:
    return max(0, day.saved_bytes)


def of_days(days: Sequence[Day]) -> list[Chart]:
    """What a dashboard shows."""
    return [
        stacked(
            "pictures",
            "Pictures by day",
            days,
            [
                Series("good", "compressed", lambda day: day.compressed),
                Series("bad", "failed", lambda day: day.failed),
            ],
        ),
        stacked(
            "bytes",
            "Bytes saved by day",
            days,
            [Series("good", "saved", saved)],
            tell=filesizeformat,
            nice=round_up_bytes,
        ),
        stacked(
            "verdicts",
            "What the guard kept, by day",
            days,
            [
                Series("good", "as latents", lambda day: day.as_latents),
                Series("other", "as AVIF, which was better", lambda day: day.as_better_avif),
                Series(
                    "warn",
                    "as AVIF, for a floor",
                    lambda day: day.as_avif - day.as_better_avif,
                ),
            ],
            shares=True,
        ),
    ]
