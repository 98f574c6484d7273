"""``manage.py latentimg_cache``: what the cache of renditions holds, and what of it may go."""

import argparse
import re
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from ... import discards, housekeeping, links, renditions
from ...fields import LatentImageField
from ...housekeeping import Kept
from ..tables import aligned

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def bytes_of(text: str) -> int:
    """``10G`` and the like."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 500M or 10G.")
    return int(float(match[1]) * UNITS[match[2].upper()])


class Command(BaseCommand):
    help = (
        "Show size and age of the cached renditions by field, delete what is told, and free "
        "replaced pictures whose grace has passed. Every rendition can be made again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--max-bytes", type=bytes_of, help="leave at most so many, such as 10G: the last used"
        )
        parser.add_argument(
            "--unused", type=int, metavar="DAYS", help="delete what nobody has read"
        )
        parser.add_argument(
            "--orphans", action="store_true", help="delete those of pictures that no row shows"
        )
        parser.add_argument("--dry-run", action="store_true", help="only say what would be deleted")

    def handle(
        self,
        *,
        max_bytes: int | None,
        unused: int | None,
        orphans: bool,
        dry_run: bool,
        **options: Any,
    ) -> None:
        if not dry_run:
            freed = discards.free_due()
            if freed:
                self.stdout.write(f"{freed} discarded files deleted.")
        owned = housekeeping.by_field(housekeeping.walk())
        self.show(owned)
        kept = [rendition for of_field in owned.values() for rendition in of_field]
        chosen: set[Kept] = set()
        if orphans:
            chosen |= set(owned.get(None, []))
        if unused is not None:
            chosen |= set(housekeeping.unused_since(kept, timezone.now() - timedelta(days=unused)))
        if max_bytes is not None:
            left = [rendition for rendition in kept if rendition not in chosen]
            chosen |= set(housekeeping.beyond(left, max_bytes))
        if not dry_run:
            renditions.delete(rendition.name for rendition in chosen)
        if orphans or unused is not None or max_bytes is not None:
            size = filesizeformat(sum(rendition.bytes for rendition in chosen))
            verb = "would be deleted" if dry_run else "deleted"
            self.stdout.write(f"{len(chosen)} renditions {verb}: {size}.")

    def show(self, owned: dict[LatentImageField | None, list[Kept]]) -> None:
        now = timezone.now()
        lines = [("field", "renditions", "size", "last used", "longest unused")]
        for field, of_field in sorted(owned.items(), key=lambda item: _title(item[0])):
            used = sorted(rendition.used for rendition in of_field)
            size = filesizeformat(sum(rendition.bytes for rendition in of_field))
            lines.append(
                (_title(field), str(len(of_field)), size, _ago(now, used[-1]), _ago(now, used[0]))
            )
        for line in aligned(lines):
            self.stdout.write(line)


def _title(field: LatentImageField | None) -> str:
    return links.label(field) if field else "(no row)"


def _ago(now: datetime, moment: datetime) -> str:
    days = (now - moment).total_seconds() / 86400
    return f"{days:.0f} d ago" if days >= 1 else f"{max(0, days * 24):.0f} h ago"
