"""Storages for tests."""

from typing import Any

from django.core.files.storage import Storage


class NoStorage(Storage):
    """Any call fails: for what must work without asking the storage."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):
            return super().__getattribute__(name)
        raise AssertionError(f"storage.{name} was used")
