"""``manage.py latentimg_report``: what compression has come to, in text."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.template.defaultfilters import filesizeformat

from ... import report
from ...models import Compression
from ...report import Report, Savings
from ..tables import aligned


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than one day.")
    return number


class Command(BaseCommand):
    help = (
        "Show bytes saved, what the guard chose, times, backlog and causes of failure by field, "
        "and the last days. The dashboard in the admin has the same."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--days",
            type=positive,
            default=report.DAYS,
            metavar="N",
            help=f"how many are shown one by one, today included ({report.DAYS})",
        )
        parser.add_argument("--json", action="store_true", help="all of it, for machines")

    def handle(self, *, days: int, **options: Any) -> None:
        made = report.make(days)
        if options["json"]:
            self.stdout.write(json.dumps(made.as_data(), cls=DjangoJSONEncoder))
            return
        for title, lines in (
            ("Fields", _fields(made)),
            ("States", _states(made)),
            ("Guard", _verdicts(made)),
            ("Causes of failure", _causes(made)),
            ("Days", _days(made)),
        ):
            if len(lines) > 1:  # There is more than its head.
                self.stdout.write(f"{title}\n")
                for line in aligned(lines):
                    self.stdout.write(f"  {line}")
                self.stdout.write("")


Lines = list[Sequence[str]]


def _savings(savings: Savings) -> tuple[str, str, str]:
    return (
        filesizeformat(savings.source_bytes),
        filesizeformat(savings.blob_bytes),
        f"{100 * savings.saved_share:.1f} %",
    )


def _fields(made: Report) -> Lines:
    head = ("field", "compressed", "sources", "blobs", "saved", "as AVIF")
    lines: Lines = [(*head, "median s", "95th s", "failed", "pending", "stale")]
    for of_field in made.fields:
        lines.append(
            (
                of_field.label,
                str(of_field.pictures),
                *_savings(of_field),
                str(of_field.as_avif),
                _seconds(of_field.median_seconds),
                _seconds(of_field.p95_seconds),
                str(of_field.lost),
                str(of_field.pending),
                str(of_field.stale),
            )
        )
    return lines


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f}"


def _states(made: Report) -> Lines:
    lines: Lines = [("field", "state", "pictures", "the oldest is of")]
    for of_field in made.fields:
        for state in Compression.State:
            if state in of_field.states:
                oldest = f"{of_field.oldest[state]:%Y-%m-%d %H:%M %Z}".rstrip()
                lines.append((of_field.label, state, str(of_field.states[state]), oldest))
    return lines


def _verdicts(made: Report) -> Lines:
    lines: Lines = [("field", "kept (reason)", "pictures")]
    for of_field in made.fields:
        for verdict, pictures in sorted(of_field.verdicts.items()):
            lines.append((of_field.label, verdict, str(pictures)))
    return lines


def _causes(made: Report) -> Lines:
    lines: Lines = [("pictures", "field", "state", "reason")]
    for cause in made.causes:
        reason = " ".join(cause.text.split())
        lines.append((str(cause.pictures), cause.field, cause.state, reason))
    return lines


def _days(made: Report) -> Lines:
    head = ("day", "compressed", "failed", "sources", "blobs", "saved")
    lines: Lines = [(*head, "as latents", "as AVIF")]
    for day in made.days:
        if day.compressed or day.failed:
            lines.append(
                (
                    day.day.isoformat(),
                    str(day.compressed),
                    str(day.failed),
                    *_savings(day),
                    str(day.as_latents),
                    str(day.as_avif),
                )
            )
    return lines
