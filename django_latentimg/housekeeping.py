"""What the cache of renditions holds, and what of it may go."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from django.core.files.storage import storages

from . import links, listing
from .conf import conf
from .fields import LatentImageField
from .lifecycle import all_fields
from .names import BlobName

ROOT = "renditions"

PAGE = 500
"""Names asked for in one query."""


class Kept(NamedTuple):
    """A rendition in the cache."""

    name: str
    """In the storage of renditions."""
    bytes: int
    used: datetime
    """Last read, as far as the storage knows; else made."""

    @property
    def picture(self) -> str:
        """The stored name of the picture; a source's after its field's label."""
        return self.name.removeprefix(f"{ROOT}/").rpartition("/")[0]


def walk() -> Iterator[Kept]:
    """All renditions in the cache."""
    for file in listing.walk(storages[conf.RENDITION_STORAGE], ROOT):
        yield Kept(file.name, file.bytes, file.used)


def by_field(kept: Iterable[Kept]) -> dict[LatentImageField | None, list[Kept]]:
    """Which field's pictures they are of; None for pictures that no row shows any more."""
    pictures: dict[str, list[Kept]] = defaultdict(list)
    for rendition in kept:
        pictures[rendition.picture].append(rendition)
    owners: dict[str, LatentImageField] = {}
    for field in all_fields():
        label = f"{links.label(field)}/"
        folders = {
            picture.removeprefix(label): picture
            for picture in pictures
            if picture.startswith(label) or BlobName.parse(picture)
        }
        names = list(folders)
        for start in range(0, len(names), PAGE):
            some = {f"{field.attname}__in": names[start : start + PAGE]}
            rows: Any = field.model._base_manager.filter(**some)
            for name in rows.values_list(field.attname, flat=True):
                owners[folders[name]] = field
    owned: dict[LatentImageField | None, list[Kept]] = defaultdict(list)
    for picture, renditions in pictures.items():
        owned[owners.get(picture)] += renditions
    return owned


def unused_since(kept: Iterable[Kept], moment: datetime) -> list[Kept]:
    return [rendition for rendition in kept if rendition.used < moment]


def beyond(kept: Iterable[Kept], most: int) -> list[Kept]:
    """Those that were used least lately, so that at most that many bytes are left."""
    chosen: list[Kept] = []
    total = 0
    for rendition in sorted(kept, key=lambda rendition: rendition.used, reverse=True):
        total += rendition.bytes
        if total > most:
            chosen.append(rendition)
    return chosen
