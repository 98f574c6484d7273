"""Upload, broker, worker: each a process of its own, over RabbitMQ and Redis."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

BROKERS = {
    "rabbitmq": ("amqp://guest:guest@127.0.0.1:5672//", 5672),
    "redis": ("redis://127.0.0.1:6379/15", 6379),
}
ROOT = Path(__file__).parent.parent


class Site:
    """Processes that share a folder and a broker."""

    def __init__(self, folder: Path, broker: str) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "SITE_FOLDER": str(folder),
            "BROKER": broker,
        }
        self.workers: list[subprocess.Popen[bytes]] = []

    def run(self, *arguments: str, **environment: str) -> str:
        """What it printed."""
        finished = subprocess.run(
            [sys.executable, "-m", *arguments],
            env=self.environment | environment,
            cwd=ROOT,
            check=True,
            timeout=60,
            capture_output=True,
        )
        return finished.stdout.decode()

    def start_worker(self, **environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "celery", "-A", "tests.broker_site", "worker"]
        options = ["--pool", "solo", "--loglevel", "info", "--without-gossip", "--without-mingle"]
        with (self.folder / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                [*command, *options],
                env=self.environment | environment,
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        self.workers.append(worker)
        return worker

    def column(self) -> str:
        with closing(sqlite3.connect(self.folder / "db.sqlite3", timeout=30)) as database:
            return str(database.execute("SELECT photo FROM testapp_product").fetchone()[0])

    def wait_for_blob(self) -> str:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            if self.column().endswith(".limg"):
                return self.column()
            time.sleep(0.2)
        pytest.fail((self.folder / "worker.log").read_text()[-3000:])

    def files(self) -> set[str]:
        media = self.folder / "files"
        return {str(path.relative_to(media)) for path in media.rglob("*") if path.is_file()}


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    url, port = BROKERS[request.param]
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)):
            pytest.skip(f"{request.param} does not answer on port {port}")
    site = Site(tmp_path, url)
    site.run("celery", "-A", "tests.broker_site", "purge", "--force")
    yield site
    for worker in site.workers:
        worker.kill()
        worker.wait()


@pytest.mark.parametrize("site", ["rabbitmq", "redis"], indirect=True)
def test_upload__is_compressed_by_a_worker_on_the_default_queue(site: Site):
    site.run("tests.broker_site", "upload")
    assert site.column() == "photos/llama.png"
    site.start_worker()
    blob = site.wait_for_blob()
    assert site.files() == {"photos/llama.png", blob}


@pytest.mark.parametrize("site", ["rabbitmq"], indirect=True)
def test_upload__is_compressed_by_the_next_worker_when_one_is_killed(site: Site):
    site.run("tests.broker_site", "upload")
    killed = site.start_worker(KILL_AT="after_blob")
    assert killed.wait(timeout=90) == -signal.SIGKILL
    assert site.column() == "photos/llama.png"
    site.start_worker()
    blob = site.wait_for_blob()
    assert site.files() == {"photos/llama.png", blob}


@pytest.mark.parametrize("site", ["rabbitmq", "redis"], indirect=True)
def test_rendition__is_made_by_a_worker_where_no_engine_is_installed(site: Site):
    site.run("tests.broker_site", "upload")
    site.start_worker()
    site.wait_for_blob()
    status, size = site.run("tests.broker_site", "fetch", MISSES="worker").split()
    (made,) = (path for path in (site.folder / "renditions").rglob("*.webp"))
    assert (status, int(size)) == ("200", made.stat().st_size)


@pytest.mark.parametrize("site", ["redis"], indirect=True)
def test_rendition__is_made_later_for_those_who_come_later(site: Site):
    site.run("tests.broker_site", "upload")
    site.start_worker()
    site.wait_for_blob()
    status, _ = site.run("tests.broker_site", "fetch", MISSES="later").split()
    assert status == "503"
    deadline = time.monotonic() + 30
    while status != "200" and time.monotonic() < deadline:
        status, _ = site.run("tests.broker_site", "fetch", MISSES="later").split()
    assert status == "200"


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
@pytest.mark.parametrize("misses", ["worker", "later"])
def test_rendition__no_broker_is_no_error_of_ours(scheme: str, misses: str, tmp_path: Path):
    site = Site(tmp_path, f"{scheme}://127.0.0.1:9//")
    site.run("tests.broker_site", "upload")
    site.run("tests.broker_site", "compress")
    status, _ = site.run("tests.broker_site", "fetch", MISSES=misses).split()
    assert status == "503"


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_upload__succeeds_with_no_broker_at_all(scheme: str, tmp_path: Path):
    site = Site(tmp_path, f"{scheme}://127.0.0.1:9//")
    site.run("tests.broker_site", "upload")
    assert site.column() == "photos/llama.png"
    assert site.files() == {"photos/llama.png"}
