"""Files of pictures that no row needs any more, whatever has left them lying.

Only what this package has made or knows can be garbage: files that have a blob's name and begin
like one, and sources that the ledger knows. The tables are read once, page by page, into an
inventory of what is needed; then the storage is listed, and what the inventory lacks is looked up
in every column that may hold it, because a row may have come since.
"""

import os
import posixpath
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import numpy as np
from django.apps import apps
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.db import models, router
from django.db.models import Q, Value
from django.db.models.functions import Reverse, StrIndex, Substr
from django.db.models.lookups import In
from django.utils import timezone

from . import discards, ledger, links, listing
from .codec.container import MAGIC
from .conf import conf
from .fields import LatentImageField
from .housekeeping import ROOT as RENDITIONS
from .lifecycle import all_fields
from .listing import Listed
from .names import EXTENSION, BlobName, source_of
from .storage import SourcesAndBlobs

PAGE = 10_000
"""Rows read at a time, and files looked up. Columns of files have no index, so a look reads whole
tables."""
AT_ONCE = 500
"""Files deleted between two looks whether a row has begun to show them."""

END_LENGTH = len(".01234567-0123" + EXTENSION)
"""Characters at the end of a blob's name, behind its size."""

Kind = Literal["blob", "source"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Item = TypeVar("Item")


class Garbage(NamedTuple):
    """A file that no row needs."""

    field: LatentImageField
    """That it was made for."""
    name: str
    kind: Kind
    bytes: int


def collect(
    fields: Sequence[LatentImageField], older_than: timedelta, *, delete: bool
) -> Iterator[Garbage]:
    """What of these fields' files is garbage and older than that; ``delete``: and deleted by now.

    A file is there before the row that shows it, so what is young may be about to be shown. Raises
    ``ListingError`` for a storage that cannot be listed.
    """
    since = timezone.now() - older_than
    for place in _places(fields):
        columns = _columns(place.root, since)
        inventory = Inventory(columns)
        old = (file for file in place.files() if file.modified < since and _is_plain(file.name))
        doubtful = inventory.without(old, place.root.folder)
        for page in _portions(doubtful, PAGE):
            found = place.garbage({file.name: file for file in page}, columns)
            if delete:
                for some in _portions(found, AT_ONCE):
                    yield from place.delete(some, columns)
            else:
                yield from found


def _portions(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while portion := list(islice(rest, size)):
        yield portion


class Root(NamedTuple):
    """Where a storage has its files. Several may be in one place, or one within another."""

    medium: str
    """The disk, or a bucket. Storages of which no more is known are taken for one."""
    folder: str
    """Empty, or with a slash at its end."""

    @classmethod
    def of(cls, storage: Storage) -> "Root":
        if isinstance(storage, FileSystemStorage):
            medium, folder = "disk", Path(os.path.realpath(storage.path(""))).as_posix()
        else:
            medium = f"bucket {getattr(storage, 'bucket_name', '')}"
            folder = str(getattr(storage, "location", "")).strip("/")
        return cls(medium, folder and f"{folder.rstrip('/')}/")

    def meets(self, other: "Root") -> bool:
        within = self.folder.startswith(other.folder) or other.folder.startswith(self.folder)
        return self.medium == other.medium and within


class Column(NamedTuple):
    """Where a file's name may stand."""

    rows: models.QuerySet[Any]
    name: str
    """Of the column."""
    root: str
    """Folder from which its names lead on."""
    needs_source: Callable[[str], bool] | None = None
    """Whether the source of a blob that stands there is needed as well."""

    def paths(self) -> Iterator[str]:
        """Of the files that it names, and of sources that are needed in any case."""
        rows, after = self.rows.order_by("pk").values_list("pk", self.name), Q()
        while page := list(rows.filter(after)[:PAGE]):
            for _, value in page:
                if value:
                    yield f"{self.root}{value}"
                    if self.needs_source is _always:
                        yield f"{self.root}{source_of(value)}"
            after = Q(pk__gt=page[-1][0])

    def needed(self, paths: Collection[str]) -> set[str]:
        """Which of the files it names, or needs as sources of the blobs that it names."""
        names = [path.removeprefix(self.root) for path in paths if path.startswith(self.root)]
        if not names:
            return set()
        wanted = Q(**{f"{self.name}__in": names})
        sources = [name for name in names if BlobName.parse(name) is None]
        if sources and self.needs_source:
            wanted |= _made_of(self.name, sources)
        values = self.rows.filter(wanted).order_by().values_list(self.name, flat=True).distinct()
        found: set[str] = set()
        for value in values:
            found.add(f"{self.root}{value}")
            source = f"{self.root}{source_of(value)}"
            # Asked only about what is in doubt: it may take a call to the storage.
            if self.needs_source and source in paths and source not in found:
                found |= {source} if self.needs_source(value) else set()
        return found


class Inventory:
    """What the columns named when they were read: 8 bytes for each name, 16 where sources are kept.

    What is not in it is not needed, unless a row has come since. Two names may share a hash: of a
    hundred million files, one in a thousand runs leaves one lying.
    """

    def __init__(self, columns: Iterable[Column]) -> None:
        paths = (path for column in columns for path in column.paths())
        self._hashes = np.fromiter(map(hash, paths), np.int64)
        self._hashes.sort()

    def without(self, files: Iterable[Listed], root: str) -> Iterator[Listed]:
        """The files below ``root`` that are not in it."""
        for some in _portions(files, PAGE):
            hashes = np.array([hash(f"{root}{file.name}") for file in some], np.int64)
            first = np.searchsorted(self._hashes, hashes, "left")
            after = np.searchsorted(self._hashes, hashes, "right")
            yield from (some[index] for index in np.flatnonzero(first == after))


def _made_of(column: str, sources: list[str]) -> Q:
    """The column holds a blob made of one of these.

    The database cuts the source out of each name, from behind and once: a ``LIKE`` for each source
    would read every row hundreds of times.
    """
    backwards = Reverse(column)
    point = StrIndex(Substr(backwards, END_LENGTH + 1), Value("."))
    source = Reverse(Substr(backwards, point + END_LENGTH + 1))
    return Q(**{f"{column}__endswith": EXTENSION}) & Q(In(source, sources))


class Place(NamedTuple):
    """A folder of a storage in which fields have their files."""

    storage: Storage
    root: Root
    folder: str
    """Empty for the whole storage."""
    fields: list[LatentImageField]

    def files(self) -> Iterator[Listed]:
        if isinstance(self.storage, FileSystemStorage):
            real = os.path.realpath(self.storage.path(self.folder))
            if Path(real).as_posix() != f"{self.root.folder}{self.folder}".rstrip("/"):
                return iter(())  # Behind a symbolic link, as in listing.py.
        shared = self.root == Root.of(storages[conf.RENDITION_STORAGE])
        return listing.walk(self.storage, self.folder, skip=RENDITIONS if shared else None)

    def unnamed(self, names: Iterable[str], columns: Iterable[Column]) -> set[str]:
        """Those of the files that no column needs."""
        left = {f"{self.root.folder}{name}" for name in names}
        for column in columns:
            left -= column.needed(left)
        return {path.removeprefix(self.root.folder) for path in left}

    def garbage(self, page: dict[str, Listed], columns: Iterable[Column]) -> list[Garbage]:
        blobs = [name for name in page if BlobName.parse(name)]
        sources = self._sources(page)
        unnamed = self.unnamed([*blobs, *sources], columns)
        owners = self._blobs(unnamed.intersection(blobs)) | sources
        return [
            Garbage(owners[name], name, "blob" if BlobName.parse(name) else "source", file.bytes)
            for name, file in page.items()
            if name in unnamed and name in owners
        ]

    def delete(self, found: list[Garbage], columns: Iterable[Column]) -> list[Garbage]:
        """Delete what is garbage still; returns that."""
        deleted: list[Garbage] = []
        for field in {garbage.field: None for garbage in found}:
            of_field = {garbage.name: garbage for garbage in found if garbage.field == field}
            # Through the same gate as all deletions: a worker may be about to use such a blob.
            discards.enter_all(field, of_field, using=router.db_for_write(field.model))
            with discards.taken(links.label(field), of_field) as mine:
                unnamed = self.unnamed(mine, columns)
                discards.delete(field, unnamed)
                deleted += (of_field[name] for name in unnamed)
        return deleted

    def _sources(self, page: dict[str, Listed]) -> dict[str, LatentImageField]:
        """The files that the ledger knows as sources."""
        fields = {links.label(field): field for field in self.fields}
        names = [name for name in page if BlobName.parse(name) is None]
        attempts = ledger.entries().filter(field__in=fields, source__in=names)
        return {
            source: fields[label]
            for label, source, size in attempts.values_list("field", "source", "source_bytes")
            # Another size: somebody else's file under a name that has become free.
            if source in page and size in (0, page[source].bytes)
        }

    def _blobs(self, names: Collection[str]) -> dict[str, LatentImageField]:
        """The files that are blobs, and not of other fields."""
        if not names:
            return {}
        neighbours = {
            links.label(field): field for field in all_fields() if self.root in _roots(field)
        }
        makers: dict[str, set[LatentImageField]] = defaultdict(set)
        attempts = ledger.entries().filter(field__in=neighbours, blob__in=names)
        for label, name in attempts.values_list("field", "blob"):
            makers[name].add(neighbours[label])
        owners: dict[str, LatentImageField] = {}
        for name in names:
            known = makers[name]
            made_by = known or {field for field in self.fields if _is_in(name, _folder(field))}
            field = next((field for field in self.fields if field in made_by), None)
            if field and self._begins_as_blob(name, cut_short=bool(known)):
                owners[name] = field
        return owners

    def _begins_as_blob(self, name: str, *, cut_short: bool) -> bool:
        """``cut_short``: a killed worker may have left only part of it."""
        with suppress(FileNotFoundError), self.storage.open(name) as stored:
            beginning: bytes = stored.read(len(MAGIC))
            return beginning == MAGIC or (cut_short and MAGIC.startswith(beginning))
        return False


def _places(fields: Iterable[LatentImageField]) -> Iterator[Place]:
    """Where these fields have their files, so that no file is listed twice."""
    by_root: dict[Root, list[LatentImageField]] = defaultdict(list)
    for field in dict.fromkeys(fields):
        for root in _roots(field):
            by_root[root].append(field)
    for root, of_root in by_root.items():
        by_folder: dict[str, list[LatentImageField]] = defaultdict(list)
        folders = sorted({_folder(field) for field in of_root})
        for field in of_root:
            outermost = next(folder for folder in folders if _is_in(_folder(field), folder))
            by_folder[outermost].append(field)
        for folder, of_folder in by_folder.items():
            # The innermost first: what nobody knows the maker of is probably theirs.
            of_folder.sort(key=lambda field: len(_folder(field)), reverse=True)
            yield Place(_roots(of_folder[0])[root], root, folder, of_folder)


def _roots(field: Any) -> dict[Root, Storage]:
    """Where it has its files: in one storage, or its blobs in another."""
    both = field.storage.both() if isinstance(field.storage, SourcesAndBlobs) else [field.storage]
    return {Root.of(storage): storage for storage in both}


def _folder(field: LatentImageField) -> str:
    """In which all of the field's files are, as far as ``upload_to`` tells; empty for anywhere."""
    if callable(field.upload_to):
        return ""
    fixed, percent, _ = str(field.upload_to).partition("%")
    if percent:
        fixed = fixed.rpartition("/")[0]
    folder = posixpath.normpath(fixed)
    return "" if folder == "." else folder


def _is_in(name: str, folder: str) -> bool:
    """Whether it is the folder, or a file or folder in it."""
    return not folder or name == folder or name.startswith(f"{folder}/")


def _is_plain(name: str) -> bool:
    """Whether a column could hold it and all storages would understand it in the same way."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return name == posixpath.normpath(name) and "\\" not in name


def _columns(root: Root, since: datetime) -> list[Column]:
    """All that may name files of this storage: pictures, other files, what is still to be freed,
    and what workers are about to put into a row."""
    columns: list[Column] = []
    roots: set[str] = set()
    for model in apps.get_models():
        for field in model._meta.local_concrete_fields:
            if not isinstance(field, models.FileField):
                continue
            # The database that is written to: a replica may lag behind.
            rows = model._base_manager.using(router.db_for_write(model))
            for of_field in _roots(field):
                if not of_field.meets(root):
                    continue
                if isinstance(field, LatentImageField):
                    columns.append(Column(rows, field.attname, of_field.folder, _counts(field)))
                    roots.add(of_field.folder)
                else:
                    columns.append(Column(rows, field.attname, of_field.folder))
    # Fields of pictures first: they know most names.
    columns.sort(key=lambda column: column.needs_source is None)
    discarded = discards.entries()
    recent = ledger.entries().filter(updated__gte=since)
    for folder in sorted(roots):
        columns.append(Column(discarded, "name", folder, _always))
        columns.append(Column(recent, "blob", folder))
    return columns


def _always(blob: str) -> bool:
    return True


def _counts(field: LatentImageField) -> Callable[[str], bool]:
    """Whether the source of a blob that the field shows is needed."""
    if field.keep_source:
        return _always
    # It is all that is left of a picture whose blob has been lost.
    return lambda blob: not field.storage.exists(blob)
