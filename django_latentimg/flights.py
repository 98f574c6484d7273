"""One decode for any number of requests, and no more at once than the machine can bear.

Requests for the same rendition share its making: threads by a future, processes and hosts by a
lease in Django's cache. Whoever holds the lease makes the rendition, the others look for the result
until it is there, or until the lease has run out because its holder was killed. A cache that cannot
be shared or reached costs double work and nothing else.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Condition, Lock
from typing import NamedTuple

from . import shared_cache
from .conf import conf

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.3
"""Seconds between two looks for what another process makes."""

REMEMBERED = 5
"""Seconds for which those who wait can learn that a rendition could not be saved."""

_UNSAVED = "unsaved"

_flights: dict[str, Future[bytes]] = {}
_flights_lock = Lock()


class BusyError(Exception):
    """As many decodes as may wait are waiting already."""


class Made(NamedTuple):
    """A rendition, and whether others will find it in storage."""

    content: bytes
    saved: bool


def once(
    key: str, find: Callable[[], bytes | None], make: Callable[[], Made], *, seconds: int
) -> bytes:
    """What ``find`` finds, else what ``make`` makes: once for all who ask at the same time.

    ``seconds``: after which a lease counts as abandoned. An error of ``make`` reaches the threads
    that shared it; other processes try for themselves. Raises ``BusyError`` too.
    """
    with _flights_lock:
        flight = _flights.get(key)
        first = flight is None
        if flight is None:
            flight = _flights[key] = Future()
    if not first:
        return flight.result()
    try:
        content = _find_or_make(key, find, make, seconds)
    except BaseException as error:
        flight.set_exception(error)
        raise
    else:
        flight.set_result(content)
        return content
    finally:
        with _flights_lock:
            del _flights[key]


def _find_or_make(
    key: str, find: Callable[[], bytes | None], make: Callable[[], Made], seconds: int
) -> bytes:
    content = find()
    if content is not None:
        return content
    lease = Lease(key, seconds)
    pause = FIRST_PAUSE
    while not lease.take():
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
        content = find()
        if content is not None:
            return content
        if lease.is_useless():
            return _make(make, lease).content
    made = None
    try:
        # Its last holder may have been done after the first look.
        content = find()
        if content is None:
            made = _make(make, lease)
            content = made.content
        return content
    finally:
        lease.give_back(useless=made is not None and not made.saved)


def _make(make: Callable[[], Made], lease: "Lease") -> Made:
    with decodes.one_more():
        lease.renew()  # The time in the queue does not count.
        return make()


class Lease:
    """The right to make a rendition, in the cache that ``LATENTIMG["CACHE"]`` names."""

    def __init__(self, key: str, seconds: int) -> None:
        self.key = shared_cache.key_of("lease", key)
        self.seconds = seconds
        self.token = secrets.token_hex(8)

    def take(self) -> bool:
        """Whether it is ours now."""
        taken = shared_cache.ask("add", self.key, self.token, self.seconds, unreachable=True)
        return bool(taken)

    def renew(self) -> None:
        """Let its time begin now."""
        shared_cache.ask("touch", self.key, self.seconds)

    def is_useless(self) -> bool:
        """Whether its last holder could not save the rendition: then each needs their own."""
        return bool(shared_cache.ask("get", self.key) == _UNSAVED)

    def give_back(self, *, useless: bool) -> None:
        if shared_cache.ask("get", self.key) != self.token:
            return  # It has run out, and is somebody else's.
        if useless:
            shared_cache.ask("set", self.key, _UNSAVED, REMEMBERED)
        else:
            shared_cache.ask("delete", self.key)


class Decodes:
    """How many threads of this process decode, and how many wait for their turn."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._running = self._waiting = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Wait for a turn. Raises ``BusyError`` where ``MAX_WAITING`` threads wait already."""
        with self._changed:
            if self._running >= conf.MAX_DECODES:
                if self._waiting >= conf.MAX_WAITING:
                    raise BusyError
                self._waiting += 1
                try:
                    self._changed.wait_for(lambda: self._running < conf.MAX_DECODES)
                finally:
                    self._waiting -= 1
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify()


decodes = Decodes()
"""Of this process."""
