"""``manage.py latentimg_gc``: files of pictures that no row needs any more."""

import json
from collections import Counter
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat

from ... import garbage, links
from ...garbage import KINDS, Garbage, Kind
from ...listing import ListingError
from ..targets import select

LEAST_HOURS = 1
"""The clocks of storage, database and this machine may differ by less."""


class Tally:
    """Files and bytes so far, by field and kind."""

    def __init__(self) -> None:
        self.files: Counter[tuple[str, Kind]] = Counter()
        self.bytes: Counter[tuple[str, Kind]] = Counter()

    def add(self, found: Garbage) -> None:
        key = links.label(found.field), found.kind
        self.files[key] += 1
        self.bytes[key] += found.bytes

    def as_data(self, label: str) -> dict[str, dict[str, int]]:
        return {
            f"{kind}s": {"files": self.files[label, kind], "bytes": self.bytes[label, kind]}
            for kind in KINDS
        }

    def as_text(self, label: str) -> str:
        return ", ".join(
            f"{self.files[label, kind]} {kind}s ({filesizeformat(self.bytes[label, kind])})"
            for kind in KINDS
        )


class Command(BaseCommand):
    help = "Find blobs and sources that no row needs any more, and delete them if told."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "targets",
            nargs="*",
            metavar="app.Model[.field]",
            help="only files of these; all latent fields of the site without",
        )
        parser.add_argument("--delete", action="store_true", help="without, files are only shown")
        parser.add_argument(
            "--older-than",
            type=float,
            default=24,
            metavar="HOURS",
            help="only files that were written before (24): younger ones may be about to be shown",
        )
        parser.add_argument("--json", action="store_true", help="a line of JSON for each file")

    def handle(
        self, *, targets: list[str], delete: bool, older_than: float, **options: Any
    ) -> None:
        if not older_than >= LEAST_HOURS:
            raise CommandError(
                f"--older-than must be at least {LEAST_HOURS} hour: files are written before the "
                "rows that show them, and clocks differ."
            )
        fields = select(targets)
        tally = Tally()
        try:
            for found in garbage.collect(fields, timedelta(hours=older_than), delete=delete):
                tally.add(found)
                self.tell(found, delete, options)
        except ListingError as error:
            raise CommandError(str(error)) from error
        labels = sorted({links.label(field) for field in fields})
        if options["json"]:
            summary = {label: tally.as_data(label) for label in labels}
            self.stdout.write(json.dumps({"summary": summary, "deleted": delete}))
            return
        for label in labels:
            verb = "deleted" if delete else "would be deleted"
            self.stdout.write(f"{label}: {tally.as_text(label)} {verb}.")

    def tell(self, found: Garbage, deleted: bool, options: dict[str, Any]) -> None:
        line = {**found._asdict(), "field": links.label(found.field), "deleted": deleted}
        if options["json"]:
            self.stdout.write(json.dumps(line))
        elif options["verbosity"]:
            self.stdout.write("{field}  {kind}  {name}".format(**line))
