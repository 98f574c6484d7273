"""One decode for a crowd, within a process and over several, and a bound on decodes."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.cache import caches
from django.core.checks import run_checks

from django_latentimg import flights, renditions
from django_latentimg.codec.errors import ImageError
from django_latentimg.flights import BusyError, Lease, Made

from .stored import store_blob
from .testapp.models import Product

PHOTO = Product._meta.get_field("photo")
ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def empty_cache():
    caches["default"].clear()


def nothing() -> None:
    return None


# Leases


def test_lease__is_one_holders_until_it_is_given_back():
    first, second = Lease("a", 60), Lease("a", 60)
    assert first.take()
    assert not second.take()
    assert Lease("b", 60).take()
    second.give_back(useless=False)
    assert not second.take(), "only its holder can give it back"
    first.give_back(useless=False)
    assert second.take()


def test_lease__runs_out_and_is_then_somebody_elses():
    killed, heir = Lease("a", 1), Lease("a", 60)
    assert killed.take()
    time.sleep(1.1)
    assert heir.take()
    killed.give_back(useless=False)
    assert not Lease("a", 60).take()


def test_lease__begins_anew_when_renewed():
    lease = Lease("a", 2)
    assert lease.take()
    time.sleep(1.2)
    lease.renew()
    time.sleep(1.2)
    assert not Lease("a", 60).take()


def test_once__whoever_waits_for_a_lease_finds_the_result():
    holder = Lease("a", 60)
    assert holder.take()
    stored: list[bytes] = []

    def finish() -> None:
        time.sleep(0.2)
        stored.append(b"theirs")
        holder.give_back(useless=False)

    threading.Thread(target=finish).start()
    found = flights.once(
        "a", lambda: stored[0] if stored else None, lambda: pytest.fail("made twice"), seconds=60
    )
    assert found == b"theirs"


def test_once__where_nothing_can_be_saved_nobody_waits_in_line():
    holder = Lease("a", 60)
    assert holder.take()
    holder.give_back(useless=True)
    assert flights.once("a", nothing, lambda: Made(b"mine", True), seconds=60) == b"mine"
    assert holder.is_useless()


def test_once__an_error_ends_the_lease():
    def fail() -> Made:
        raise ImageError

    with pytest.raises(ImageError):
        flights.once("a", nothing, fail, seconds=60)
    assert Lease("a", 60).take()
    assert not flights._flights


def test_once__a_cache_that_cannot_be_reached_stops_nothing(settings, caplog):
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
        }
    }
    assert flights.once("a", nothing, lambda: Made(b"made", True), seconds=60) == b"made"
    assert "cannot be reached" in caplog.text


# Bounds


def test_decodes__no_more_at_once_than_allowed_and_no_more_waiting(settings):
    settings.LATENTIMG = {**settings.LATENTIMG, "MAX_DECODES": 2, "MAX_WAITING": 3}
    running, most, release = [], [], threading.Event()

    def make() -> Made:
        running.append(1)
        most.append(len(running))
        release.wait(10)
        running.pop()
        return Made(b"made", True)

    with ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(flights.once, f"key {number}", nothing, make, seconds=60)
            for number in range(8)
        ]
        deadline = time.monotonic() + 10
        while sum(future.done() for future in asked) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        refused = [future for future in asked if future.done()]
        release.set()
    assert [type(future.exception()) for future in refused] == [BusyError] * 3
    assert sum(future.exception() is None for future in asked) == 5
    assert max(most) == 2
    assert (flights.decodes._running, flights.decodes._waiting) == (0, 0)


def test_decodes__sharing_a_flight_is_not_waiting_for_a_turn(settings):
    settings.LATENTIMG = {**settings.LATENTIMG, "MAX_DECODES": 1, "MAX_WAITING": 0}
    release = threading.Event()

    def make() -> Made:
        release.wait(10)
        return Made(b"made", True)

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(flights.once, "a", nothing, make, seconds=60) for _ in range(8)]
        release.set()
    assert {future.result() for future in asked} == {b"made"}


# Several processes


class Crowd:
    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.processes: list[subprocess.Popen[str]] = []

    def add(self, threads: int, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.renderer", str(self.folder), self.name]
        process = subprocess.Popen(
            [*command, str(threads), *options],
            cwd=ROOT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def ready(self) -> None:
        for process in self.processes:
            assert process.stdout.readline() == "ready\n"

    def ask(self, *processes: subprocess.Popen[str]) -> list[str]:
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        return [process.communicate(timeout=60)[0].strip() for process in processes]

    def decodes(self) -> list[str]:
        return (self.folder / "decodes").read_text().split()


@pytest.fixture
def crowd(tmp_path):
    import redis

    from .renderer import REDIS

    try:
        redis.Redis.from_url(REDIS).ping()
    except redis.ConnectionError:
        pytest.skip("Redis does not answer")
    crowd = Crowd(tmp_path, store_blob(PHOTO, "photos/llama.png"))
    yield crowd
    for process in crowd.processes:
        process.kill()
        process.communicate()


def test_render__64_misses_over_4_processes_are_one_decode(crowd):
    """vercel/next.js#23436, sorl-thumbnail#375: a crowd that misses renders once, one file."""
    processes = [crowd.add(16) for _ in range(4)]
    crowd.ready()
    sizes = crowd.ask(*processes)
    assert len(set(sizes)) == 1
    assert sizes[0].isdecimal()
    assert len(crowd.decodes()) == 1
    files = [path for path in (crowd.folder / "renditions").rglob("*") if path.is_file()]
    assert [str(path.stat().st_size) for path in files] == sizes[:1]


def test_render__a_killed_holders_lease_is_taken_over(crowd, monkeypatch):
    killed, heir = crowd.add(1, "--kill"), crowd.add(1)
    crowd.ready()
    crowd.ask(killed)
    assert killed.returncode == -9
    start = time.monotonic()
    (size,) = crowd.ask(heir)
    assert size.isdecimal()
    assert len(crowd.decodes()) == 2
    assert time.monotonic() - start > 5, "the heir waited for the lease to run out"


# What the site is told


def test_check__a_cache_that_ends_at_the_process(settings):
    def found() -> list[str]:
        checks = run_checks(include_deployment_checks=True)
        return [check.id for check in checks if check.id and check.id.startswith("latentimg")]

    for backend in ("locmem.LocMemCache", "dummy.DummyCache", "filebased.FileBasedCache"):
        settings.CACHES = {
            "default": {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": "x"}
        }
        assert found() == ["latentimg.W002"]
    settings.CACHES["redis"] = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": "redis://127.0.0.1:6379",
    }
    settings.LATENTIMG = {**settings.LATENTIMG, "CACHE": "redis"}
    assert found() == []


def test_nearest__prefers_the_larger_ones():
    name = store_blob(PHOTO, "photos/llama.png")
    assert renditions.nearest(PHOTO, name, 640, "webp") is None
    small = renditions.render(PHOTO, name, 320, "webp")
    assert renditions.nearest(PHOTO, name, 640, "webp") == small
    assert renditions.nearest(PHOTO, name, 640, "avif") is None
