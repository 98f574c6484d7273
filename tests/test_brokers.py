"""Upload, broker, worker: each a process of its own, over RabbitMQ and Redis."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from kombu import Connection

from .processes import free_port, listening

CELERY = [sys.executable, "-m", "celery", "-A", "tests.broker_site"]
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

    def start_worker(
        self, pool: str = "solo", processes: int = 2, **environment: str
    ) -> subprocess.Popen[bytes]:
        command = [*CELERY, "worker", "--pool", pool, "--concurrency", str(processes)]
        options = ["--loglevel", "info", "--without-gossip", "--without-mingle"]
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

    def query(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.folder / "db.sqlite3", timeout=30)) as database:
            rows = database.execute(sql).fetchall()
            database.commit()
            return rows

    def column(self) -> str:
        return str(self.query("SELECT photo FROM testapp_product")[0][0])

    def ledger(self) -> tuple[str, str]:
        """State and reason of the one entry."""
        ((state, reason),) = self.query("SELECT state, reason FROM django_latentimg_compression")
        return state, reason

    def wait(self, condition: Callable[[], bool], seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail((self.folder / "worker.log").read_text()[-3000:])
            time.sleep(0.2)

    def wait_for_blob(self) -> str:
        self.wait(lambda: self.column().endswith(".limg"))
        return self.column()

    def stop(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()

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
    site.stop()


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


def documented(broker: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Celery's settings and ours, as docs/workers.md has them under a broker's name."""
    text = (ROOT / "docs" / "workers.md").read_text().partition(f"### {broker}")[2]
    code = re.search(r"```python\n(.*?)```", text, re.S)
    assert code
    found: dict[str, Any] = {}
    exec(code[1], found)
    prefix = "CELERY_"
    celery = {key.removeprefix(prefix).lower(): found[key] for key in found if prefix in key}
    del celery["broker_url"]
    return celery, found["LATENTIMG"]


# What is in the queue


@pytest.mark.parametrize("site", ["rabbitmq", "redis"], indirect=True)
def test_upload__sends_names_and_no_secret(site: Site):
    site.run("tests.broker_site", "upload")
    with Connection(site.environment["BROKER"]) as connection:
        message = connection.SimpleQueue("celery").get(timeout=10)
        message.ack()
    assert message.content_type == "application/json"
    arguments, options, _ = json.loads(message.body)
    assert arguments == ["testapp.product", "1", "photo", "photos/llama.png"]
    assert options == {}
    everything = repr((message.body, message.headers, message.properties))
    assert settings.SECRET_KEY not in everything
    assert str(site.folder) not in everything
    hard, soft = message.headers["timelimit"]
    assert (soft, hard) == (120, 180), "of a small picture; of 12 megapixels 660 and 720"


@pytest.mark.parametrize("site", ["rabbitmq", "redis"], indirect=True)
def test_upload__goes_before_the_backlog(site: Site):
    rabbitmq = site.environment["BROKER"].startswith("amqp")
    celery, latentimg = documented("RabbitMQ" if rabbitmq else "Redis")
    site.environment["LATENTIMG"] = json.dumps(latentimg)
    queue = {"task_default_queue": f"priorities-{site.folder.name}"}  # to declare it anew
    site.environment["CELERY"] = json.dumps(celery | queue)
    backlog = [f"{number}.png" for number in range(6)]
    site.run("tests.broker_site", "upload", *backlog)
    site.run("celery", "-A", "tests.broker_site", "purge", "--force")
    site.query("DELETE FROM django_latentimg_compression")
    assert json.loads(site.run("tests.broker_site", "sweep"))["enqueued"] == 6
    site.run("tests.broker_site", "upload", "new.png")
    site.start_worker()
    done = (
        "SELECT source FROM django_latentimg_compression WHERE state='compressed' ORDER BY updated"
    )
    site.wait(lambda: len(site.query(done)) == 7)
    assert ("photos/new.png",) in site.query(done)[:2]


# Workers


def test_worker__units_of_systemd_are_valid(tmp_path: Path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    text = (ROOT / "docs" / "workers.md").read_text()
    units = re.findall(r"```ini\n# /etc/systemd/system/(\S+)\n(.*?)```", text, re.S)
    assert len(units) == 2
    for name, unit in units:
        celery = "/srv/shop/.venv/bin/celery"
        (tmp_path / name).write_text(unit.replace(celery, sys.executable))
        subprocess.run(["systemd-analyze", "verify", tmp_path / name], check=True)


def test_worker__services_of_compose_start_with_commands_that_exist():
    text = (ROOT / "docs" / "workers.md").read_text()
    compose = re.search(r"```yaml\n(.*?)```", text, re.S)
    assert compose
    services = yaml.safe_load(compose[1])["services"]
    assert services.keys() == {"database", "redis", "web", "worker", "beat"}
    for service in ("worker", "beat"):
        command = services[service]["command"].split()
        shown = subprocess.run(
            [sys.executable, "-m", "celery", "-A", "tests.broker_site", command[3], "--help"],
            env=os.environ | {"SITE_FOLDER": "/tmp", "BROKER": "memory://"},
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert all(option in shown for option in command[4:] if option.startswith("--"))


def test_upload__over_sqs(tmp_path: Path):
    port = free_port()
    site = Site(tmp_path, f"sqs://test:test@127.0.0.1:{port}//")
    celery, latentimg = documented("Amazon SQS")
    celery["broker_transport_options"] |= {"is_secure": False}
    site.environment["CELERY"] = json.dumps(celery)
    site.environment["LATENTIMG"] = json.dumps(latentimg)
    server = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with listening(server, port):
        try:
            site.run("tests.broker_site", "upload")
            site.start_worker()
            site.wait_for_blob()
        finally:
            site.stop()


@pytest.mark.parametrize("site", ["redis"], indirect=True)
def test_worker__that_forks_shares_its_model_and_computes(site: Site):
    """A thread or a GPU that was opened before the fork would let the processes hang."""
    site.run("tests.broker_site", "upload", "1.png", "2.png", "3.png", "4.png")
    worker = site.start_worker("prefork")
    site.wait(lambda: not site.query("SELECT * FROM testapp_product WHERE photo NOT LIKE '%.limg'"))
    workers = {
        row[0].rpartition(":")[2]
        for row in site.query("SELECT worker FROM django_latentimg_compression")
    }
    assert str(worker.pid) not in workers
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    assert workers <= set(children)
    for child in [str(worker.pid), *children]:
        maps = Path(f"/proc/{child}/maps").read_text()
        assert "libtorch_cpu" in maps, "loaded before the fork"


@pytest.mark.parametrize("site", ["redis"], indirect=True)
def test_worker__storage_that_hangs_is_given_up_and_told(site: Site):
    site.run("tests.broker_site", "upload", SECONDS="2 60")
    site.start_worker("prefork", HANG="600")
    site.wait(lambda: site.ledger()[0] == "waiting")
    assert site.ledger()[1].startswith("SoftTimeLimitExceeded")
    assert site.column() == "photos/llama.png"


@pytest.mark.parametrize("site", ["rabbitmq"], indirect=True)
def test_worker__storage_that_hangs_for_good_ends_the_process_and_the_sweep_sends_again(site: Site):
    site.run("tests.broker_site", "upload", SECONDS="2 2")
    hanging = site.start_worker("prefork", HANG="600 stubborn")
    site.wait(lambda: "Hard time limit" in (site.folder / "worker.log").read_text())
    hanging.kill()
    hanging.wait()
    assert site.ledger()[0] == "started"
    assert site.column() == "photos/llama.png"
    assert json.loads(site.run("tests.broker_site", "sweep"))["enqueued"] == 0, "it may live"
    site.query("UPDATE django_latentimg_compression SET updated='2020-01-01'")
    assert json.loads(site.run("tests.broker_site", "sweep"))["enqueued"] == 1
    site.start_worker()
    site.wait_for_blob()


@pytest.mark.parametrize("site", ["rabbitmq"], indirect=True)
def test_worker__that_is_told_to_stop_finishes_its_picture(site: Site):
    site.run("tests.broker_site", "upload", "1.png", "2.png")
    worker = site.start_worker("prefork", 1, HANG="3")
    site.wait(
        lambda: bool(site.query("SELECT * FROM django_latentimg_compression WHERE state='started'"))
    )
    worker.terminate()
    assert worker.wait(timeout=90) == 0
    states = [row[0] for row in site.query("SELECT state FROM django_latentimg_compression")]
    assert sorted(states) == ["compressed", "queued"]
    site.start_worker()
    site.wait(lambda: not site.query("SELECT * FROM testapp_product WHERE photo NOT LIKE '%.limg'"))


def test_upload__with_the_broker_down_is_sent_by_the_sweep_when_it_is_back(tmp_path: Path):
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    port = free_port()
    site = Site(tmp_path, f"redis://127.0.0.1:{port}/0")
    site.run("tests.broker_site", "upload")
    assert site.ledger()[0] == "unsent"
    assert site.column() == "photos/llama.png"
    redis = ["redis-server", "--port", str(port), "--save", "", "--dir", str(tmp_path)]
    with listening(redis, port):
        try:
            assert json.loads(site.run("tests.broker_site", "sweep"))["enqueued"] == 1
            assert json.loads(site.run("tests.broker_site", "sweep"))["enqueued"] == 0
            site.start_worker()
            site.wait_for_blob()
        finally:
            site.stop()
