"""A storage for fields whose sources and blobs are in storages of their own."""

from datetime import datetime
from typing import Any

from django.core.files.base import File
from django.core.files.storage import Storage, storages
from django.utils.deconstruct import deconstructible

from .names import EXTENSION


@deconstructible(path="django_latentimg.storage.SourcesAndBlobs")
class SourcesAndBlobs(Storage):
    """Sends what is named like a blob to one storage, all else to another.

    ``sources``, ``blobs``: aliases in ``STORAGES``.
    """

    def __init__(self, sources: str, blobs: str) -> None:
        self.sources = sources
        self.blobs = blobs

    def both(self) -> list[Storage]:
        return [storages[self.sources], storages[self.blobs]]

    def of(self, name: str) -> Storage:
        """Where a file of this name is."""
        return storages[self.blobs if name.endswith(EXTENSION) else self.sources]

    def open(self, name: str, mode: str = "rb") -> "File[bytes]":
        return self.of(name).open(name, mode)

    def save(self, name: str | None, content: Any, max_length: int | None = None) -> str:
        return self.of(name or content.name).save(name, content, max_length)

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return self.of(name).get_available_name(name, max_length)

    def path(self, name: str) -> str:
        return self.of(name).path(name)

    def delete(self, name: str) -> None:
        self.of(name).delete(name)

    def exists(self, name: str) -> bool:
        return self.of(name).exists(name)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        folders: set[str] = set()
        files: set[str] = set()
        for storage in self.both():
            try:
                inner, names = storage.listdir(path)
            except FileNotFoundError:
                continue
            folders.update(inner)
            files.update(name for name in names if self.of(name) is storage)
        return sorted(folders), sorted(files)

    def size(self, name: str) -> int:
        return self.of(name).size(name)

    def url(self, name: str | None) -> str:
        return self.of(name or "").url(name)

    def get_accessed_time(self, name: str) -> datetime:
        return self.of(name).get_accessed_time(name)

    def get_created_time(self, name: str) -> datetime:
        return self.of(name).get_created_time(name)

    def get_modified_time(self, name: str) -> datetime:
        return self.of(name).get_modified_time(name)
