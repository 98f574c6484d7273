"""A storage and a cache that count what would go over a network, and a storage that takes time."""

import os
import time
from collections import Counter
from typing import Any

from django.core.cache.backends.locmem import LocMemCache
from django.core.files.storage import FileSystemStorage

calls: Counter[str] = Counter()
latency = 0.0
"""Seconds of each call of the storage."""


class Storage(FileSystemStorage):
    """As a bucket: every question is a request. URLs are made without asking."""

    def _ask(self, method: str) -> None:
        calls["storage"] += 1
        if latency:
            time.sleep(latency)
        log = os.environ.get("SAVES")
        if log and method == "_save":
            with open(log, "a") as file:
                file.write(f"{os.getpid()}\n")

    def exists(self, name: str) -> bool:
        self._ask("exists")
        return super().exists(name)

    def _open(self, name: str, mode: str = "rb") -> Any:
        self._ask("_open")
        return super()._open(name, mode)  # type: ignore[misc]

    def _save(self, name: str, content: Any) -> Any:
        self._ask("_save")
        return super()._save(name, content)  # type: ignore[misc]

    def size(self, name: str) -> int:
        self._ask("size")
        return super().size(name)

    def delete(self, name: str) -> None:
        self._ask("delete")
        super().delete(name)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        self._ask("listdir")
        return super().listdir(path)

    def get_modified_time(self, name: str) -> Any:
        self._ask("get_modified_time")
        return super().get_modified_time(name)


def counting(name: str) -> Any:
    def method(self: LocMemCache, *arguments: Any, **options: Any) -> Any:
        calls["cache"] += 1
        return getattr(LocMemCache, name)(self, *arguments, **options)

    return method


class Cache(LocMemCache):
    """In memory; every question counts."""


for _name in ("get", "set", "add", "delete", "touch", "has_key", "incr"):
    setattr(Cache, _name, counting(_name))
