"""``manage.py recompress_images``: compress every picture that is still a source."""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import models
from django.template.defaultfilters import filesizeformat
from tqdm import tqdm

from ... import compression, links
from ...fields import LatentImageField
from ...lifecycle import all_fields, latent_fields
from ...models import Compression
from ...names import EXTENSION

PAGE = 500
"""Rows fetched at a time."""


def select(targets: list[str]) -> list[LatentImageField]:
    """The fields that ``app.Model`` or ``app.Model.field`` name; all of the site's for none."""
    if not targets:
        return all_fields()
    selected: list[LatentImageField] = []
    for target in targets:
        model_label, field_name = target, ""
        if target.count(".") > 1:
            model_label, _, field_name = target.rpartition(".")
        try:
            model: type[models.Model] = apps.get_model(model_label)
        except (LookupError, ValueError) as error:
            raise CommandError(f"{target}: {error}") from error
        found = [f for f in latent_fields(model) if field_name in ("", f.name)]
        if not found:
            raise CommandError(f"{target} names no LatentImageField.")
        selected += found
    return selected


def pending(field: LatentImageField) -> models.QuerySet[Any]:
    """Rows whose column holds a source."""
    rows = field.model._base_manager.exclude(**{field.attname: ""})
    return rows.exclude(**{f"{field.attname}__isnull": True}).exclude(
        **{f"{field.attname}__endswith": EXTENSION}
    )


def sources(field: LatentImageField) -> Iterator[tuple[Any, str]]:
    """(primary key, source) of the pending rows, a page at a time by primary key."""
    rows = pending(field).order_by("pk").values_list("pk", field.attname)
    page = list(rows[:PAGE])
    while page:
        yield from page
        page = list(rows.filter(pk__gt=page[-1][0])[:PAGE])


class Command(BaseCommand):
    help = "Compress the pictures that are still sources."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("targets", nargs="*", metavar="app.Model[.field]")
        parser.add_argument(
            "--dry-run", action="store_true", help="count what would be compressed, change nothing"
        )

    def handle(self, *, targets: list[str], dry_run: bool, **options: Any) -> None:
        fields = select(targets)
        if dry_run:
            for field in fields:
                self.stdout.write(f"{links.label(field)}: {pending(field).count()} to compress")
            return
        outcomes: list[compression.Outcome] = []
        for field in fields:
            bar = tqdm(
                sources(field),
                total=pending(field).count(),
                desc=links.label(field),
                unit="picture",
                disable=None if options["verbosity"] else True,
            )
            for primary_key, source in bar:
                outcome = compression.compress(field, primary_key, source)
                outcomes.append(outcome)
                if outcome.state == Compression.State.FAILED:
                    self.stderr.write(
                        f"{links.label(field)} {primary_key}: {source}: {outcome.reason}"
                    )
        self.report(outcomes)

    def report(self, outcomes: list[compression.Outcome]) -> None:
        done = [outcome for outcome in outcomes if outcome.state == Compression.State.COMPRESSED]
        failed = [outcome for outcome in outcomes if outcome.state == Compression.State.FAILED]
        before = sum(outcome.source_bytes for outcome in done)
        after = sum(outcome.blob_bytes for outcome in done)
        self.stdout.write(
            f"{len(done)} compressed: {filesizeformat(before)} to {filesizeformat(after)}, "
            f"{before - after} bytes saved; {len(failed)} failed."
        )
        if failed:
            raise CommandError(f"{len(failed)} of {len(outcomes)} pictures failed.")
