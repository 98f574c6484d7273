"""What a storage holds, without holding all of it in memory."""

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.core.files.storage import FileSystemStorage, Storage
from django.utils import timezone

LAST = "\U0010ffff"
"""Sorts after whatever a name may go on with."""


class ListingError(Exception):
    """The storage cannot tell what it holds."""


class Listed(NamedTuple):
    """A file in a storage. Times compare with ``timezone.now()``."""

    name: str
    bytes: int
    modified: datetime
    used: datetime
    """Last read, as far as the storage knows; else modified."""


def walk(storage: Storage, folder: str = "", *, skip: str | None = None) -> Iterator[Listed]:
    """All files in a folder and in those within it, but for the folder ``skip``.

    ``""`` is the whole storage. On a disk symbolic links in the folder are not followed: what is
    behind them has another name as well. Raises ``ListingError``.
    """
    # Google's and others' buckets are of another kind than boto's.
    objects = getattr(getattr(storage, "bucket", None), "objects", None)
    if objects is not None:
        location = storage.location.strip("/")  # type: ignore[attr-defined]
        return _walk_bucket(objects, f"{location}/" if location else "", folder, skip)
    if isinstance(storage, FileSystemStorage):
        return _walk_disk(storage.path(folder), folder, skip)
    return _walk_any(storage, folder, skip)


def _walk_bucket(objects: Any, location: str, folder: str, skip: str | None) -> Iterator[Listed]:
    """S3 says name, size and time of a thousand objects at once."""
    prefix = f"{location}{folder}/" if folder else location
    marker = ""
    while True:
        for item in objects.filter(Prefix=prefix, Marker=marker):
            name = item.key.removeprefix(location)
            if skip and name.startswith(f"{skip}/"):
                if marker:
                    continue
                marker = f"{location}{skip}/{LAST}"
                break  # and go on behind that folder
            if not name.endswith("/"):  # What consoles make for a folder.
                modified = _comparable(item.last_modified)
                yield Listed(name, item.size, modified, modified)
        else:
            return


def _walk_disk(path: str, folder: str, skip: str | None) -> Iterator[Listed]:
    # Storage.listdir() would hold all names of the folder.
    try:
        entries = os.scandir(path)
    except FileNotFoundError:
        return
    folders = []
    with entries:
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append((entry.path, name))
            elif entry.is_file(follow_symlinks=False):
                try:
                    stat = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # deleted meanwhile
                    continue
                modified, used = (
                    _comparable(datetime.fromtimestamp(seconds, UTC))
                    for seconds in (stat.st_mtime, stat.st_atime)
                )
                yield Listed(name, stat.st_size, modified, used)
    for inner, name in folders:
        if name != skip:
            yield from _walk_disk(inner, name, skip)


def _walk_any(storage: Storage, folder: str, skip: str | None) -> Iterator[Listed]:
    try:
        folders, files = storage.listdir(folder)
        for file in files:
            name = f"{folder}/{file}" if folder else file
            with suppress(FileNotFoundError):  # deleted meanwhile
                yield _ask(storage, name)
    except FileNotFoundError:
        return
    except NotImplementedError as error:
        raise ListingError(
            f"{storage.__class__.__name__} cannot list files with their sizes and times."
        ) from error
    for inner in folders:
        name = f"{folder}/{inner}" if folder else inner
        if name != skip:
            yield from _walk_any(storage, name, skip)


def _ask(storage: Storage, name: str) -> Listed:
    modified = used = _comparable(storage.get_modified_time(name))
    with suppress(NotImplementedError):
        used = _comparable(storage.get_accessed_time(name))
    return Listed(name, storage.size(name), modified, used)


def _comparable(moment: datetime) -> datetime:
    """As ``timezone.now()`` is: with a time zone or without."""
    zone = timezone.get_default_timezone()
    if settings.USE_TZ and timezone.is_naive(moment):
        return timezone.make_aware(moment, zone)
    if not settings.USE_TZ and timezone.is_aware(moment):
        return timezone.make_naive(moment, zone)
    return moment
