"""``python -m benchmarks.load``: uploads over HTTP, readers and four worker processes at once.

Uploads arrive at random times (Poisson) at ``--share`` of what the workers were measured to do
before, since beyond that the time to a blob is only the length of the queue. Needs gunicorn,
PostgreSQL, Redis and RabbitMQ on this machine; photographs are a folder of image files, uploaded as
JPEG. Writes ``results/load.json`` and ``load.md``; with one worker process, whose memory is then
what it is about, ``load_alone.json`` and ``.md``.
"""

import argparse
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any
from uuid import uuid4

import psycopg
from PIL import Image

from ..delivery.serving import free_port

RESULTS = Path(__file__).parent.parent / "results"
SAMPLE = 5
"""Seconds between two looks at the workers' memory."""
WARM = 40
"""Photographs by which the workers' pace is measured, not counted otherwise."""


class Shop:
    """Its processes and its database."""

    def __init__(self, folder: Path, effort: int) -> None:
        self.database = f"load_{os.getpid()}"
        self.server: Any = psycopg.connect(
            "host=127.0.0.1 user=postgres dbname=postgres", autocommit=True
        )
        self.server.execute(f"CREATE DATABASE {self.database}")
        self.db: Any = psycopg.connect(
            f"host=127.0.0.1 user=postgres dbname={self.database}", autocommit=True
        )
        self.port = free_port()
        self.log = folder / "log"
        queue = f"load-{os.getpid()}"
        self.environment = os.environ | {
            "LOAD": json.dumps(
                {
                    "folder": str(folder),
                    "database": {"NAME": self.database},
                    "broker": "amqp://guest:guest@127.0.0.1:5672//",
                    "cache": "redis://127.0.0.1:6379/14",
                    "queue": queue,
                    "effort": effort,
                }
            )
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def python(self, code: str) -> None:
        prelude = "import benchmarks.load.site\n"
        subprocess.run([sys.executable, "-c", prelude + code], env=self.environment, check=True)

    def start(self, *command: str) -> int:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command], env=self.environment, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process.pid

    def close(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()
        self.db.close()
        self.server.execute(f"DROP DATABASE {self.database} WITH (FORCE)")

    def value(self, sql: str) -> Any:
        return self.db.execute(sql).fetchone()[0]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def upload(self, name: str, content: bytes) -> float:
        """Milliseconds."""
        boundary = uuid4().hex
        body = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
            f"Content-Type: image/jpeg\r\n\r\n"
        ).encode() + content
        request = urllib.request.Request(
            self.url("/upload"),
            body + f"\r\n--{boundary}--\r\n".encode(),
            {"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )
        started = time.monotonic()
        with urllib.request.urlopen(request, timeout=60) as response:
            assert response.status == 201
        return (time.monotonic() - started) * 1000

    def wait_until(self, compressed: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.value(DONE) < compressed:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.value(DONE)} of {compressed}; see {self.log}")
            time.sleep(0.5)


DONE = "SELECT count(*) FROM django_latentimg_compression WHERE state = 'compressed'"


@contextmanager
def shop(folder: Path, effort: int, workers: int) -> Iterator[tuple[Shop, int]]:
    site = Shop(folder, effort)
    try:
        site.python("from django.core.management import call_command as call\n"
                    "call('migrate', run_syncdb=True, verbosity=0)\n"
                    "site = benchmarks.load.site\nsite.app.control.purge()\n")  # fmt: skip
        web = ("gunicorn", "--workers", "2", "--threads", "8", "--bind")
        site.start(*web, f"127.0.0.1:{site.port}", "benchmarks.load.site:application")
        celery = ("celery", "--app", "benchmarks.load.site", "worker", "--concurrency")
        worker = site.start(*celery, str(workers), "--loglevel", "warning")
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(site.url("/page"), timeout=10).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)
        yield site, worker
    finally:
        site.close()


def memory(worker: int) -> list[float]:
    """MiB of each process of the worker that compresses, as its share of what is shared."""
    sizes = []
    for child in Path(f"/proc/{worker}/task/{worker}/children").read_text().split():
        told = Path(f"/proc/{child}/smaps_rollup").read_text()
        found = re.search(r"^Pss:\s+(\d+)", told, re.M)
        sizes.append(int(found[1]) / 1024 if found else 0.0)
    return sizes


class Readers:
    """Visitors who open the page and load what it shows."""

    def __init__(self, site: Shop, count: int) -> None:
        self.site = site
        self.over = threading.Event()
        self.answers: Counter[str] = Counter()
        self.milliseconds: list[float] = []
        self.threads = [threading.Thread(target=self.read, args=(seed,)) for seed in range(count)]
        for thread in self.threads:
            thread.start()

    def get(self, path: str, **headers: str) -> bytes:
        request = urllib.request.Request(self.site.url(path), headers=headers)
        started = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                content: bytes = response.read()
            self.answers[f"{response.status}"] += 1
            return content
        except urllib.error.HTTPError as error:
            # A picture may have been replaced by its blob since the page was made.
            self.answers[f"{error.code}"] += 1
        except OSError as error:
            self.answers[type(error).__name__] += 1
        finally:
            self.milliseconds.append((time.monotonic() - started) * 1000)
        return b""

    def read(self, seed: int) -> None:
        choose = random.Random(seed)
        while not self.over.is_set():
            html = self.get("/page").decode()
            links = re.findall(r"(/img/[^ \"]+/160/[^ \"]+\.webp)", html)
            for link in choose.sample(links, min(3, len(links))):
                self.get(link)
            time.sleep(1)

    def stop(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


def photographs(folder: Path, count: int, short_side: int) -> list[bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".webp", ".jpg", ".png"))
    random.Random(0).shuffle(paths)
    contents = []
    for number in range(count):
        target = io.BytesIO()
        with Image.open(paths[number % len(paths)]) as image:
            scale = short_side / min(image.size)
            size = round(image.width * scale), round(image.height * scale)
            image.convert("RGB").resize(size).save(target, "JPEG", quality=92)
        contents.append(target.getvalue())
    return contents


def spread(values: list[float]) -> dict[str, float]:
    cuts = quantiles(values, n=100)
    return {"p50": round(cuts[49], 1), "p95": round(cuts[94], 1)}


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("photographs", type=Path)
    arguments.add_argument("--count", type=int, default=2000)
    arguments.add_argument("--short-side", type=int, default=320, help="pixels")
    arguments.add_argument("--workers", type=int, default=4, help="processes")
    arguments.add_argument("--readers", type=int, default=4)
    arguments.add_argument("--share", type=float, default=0.7)
    arguments.add_argument("--effort", type=int, default=0)
    given = arguments.parse_args()
    contents = photographs(given.photographs, given.count + WARM, given.short_side)
    with (
        tempfile.TemporaryDirectory() as folder,
        shop(Path(folder), given.effort, given.workers) as (site, worker),
    ):
        for number in range(WARM):
            site.upload(f"warm{number}.jpg", contents.pop())
        site.wait_until(given.workers, 300)  # every process has loaded what it needs
        started, already = time.monotonic(), site.value(DONE)
        site.wait_until(WARM, 600)
        pace = (WARM - already) / (time.monotonic() - started)
        told = run(site, worker, Path(folder), contents, given.readers, given.share * pace)
    told |= {
        "workers": given.workers,
        "readers": given.readers,
        "effort": given.effort,
        "pace": round(pace, 2),
        "share": given.share,
    }
    told["short_side"] = given.short_side
    name = "load" if given.workers > 1 else "load_alone"
    (RESULTS / f"{name}.json").write_text(json.dumps(told, indent=2) + "\n")
    (RESULTS / f"{name}.md").write_text(report(told))
    print(report(told))


def run(
    site: Shop, worker: int, folder: Path, contents: list[bytes], visitors: int, rate: float
) -> dict[str, Any]:
    arrivals = random.Random(1)
    memories: list[list[float]] = []
    before = int(site.value("SELECT max(id) FROM load_photo"))
    readers = Readers(site, visitors)
    started = time.monotonic()
    due = looked = started
    errors = 0
    with ThreadPoolExecutor(32) as pool:
        uploads = []
        for number, content in enumerate(contents):
            due += arrivals.expovariate(rate)
            while (now := time.monotonic()) < due:
                if now - looked > SAMPLE:
                    looked = now
                    memories.append(memory(worker))
                time.sleep(max(0, min(due - now, SAMPLE)))
            uploads.append(pool.submit(site.upload, f"{number}.jpg", content))
        milliseconds = []
        for upload in uploads:
            try:
                milliseconds.append(upload.result())
            except OSError:
                errors += 1
    site.wait_until(WARM + len(contents), 3600)
    seconds = time.monotonic() - started
    memories.append(memory(worker))
    readers.stop()
    waits = site.db.execute(
        "SELECT extract(epoch FROM ledger.updated - ledger.created), seconds "
        "FROM django_latentimg_compression ledger WHERE object_id::bigint > %s",
        [before],
    ).fetchall()
    rows = site.db.execute("SELECT image FROM load_photo WHERE id > %s", [before]).fetchall()
    files = folder / "files"
    whole = sum(
        name.endswith(".limg")
        and (files / name).read_bytes()[:4] == b"LIMG"
        and (files / re.sub(r"(\.jpg)\..*", r"\1", name)).exists()
        for (name,) in rows
    )
    orphans = sum(path.is_file() for path in files.rglob("*")) - 2 * (len(rows) + WARM)
    by_process = [list(sizes) for sizes in zip(*memories, strict=False)]
    tenth = max(1, len(memories) // 10)
    return {
        "photographs": len(contents),
        "cores": os.cpu_count(),
        "seconds": round(seconds),
        "uploads_per_s": round(rate, 2),
        "upload_ms": spread(milliseconds),
        "to_blob_s": spread([float(wait) for wait, _ in waits]),
        "seconds_per_photograph": round(sum(float(s) for _, s in waits) / len(waits), 3),
        "reader_ms": spread(readers.milliseconds) if visitors else None,
        "answers": dict(readers.answers),
        "errors": errors,
        "rows": len(rows),
        "whole": whole,
        "orphans": orphans,
        "mean_bytes": {
            "source": site.value("SELECT avg(source_bytes)::int FROM django_latentimg_compression"),
            "blob": site.value("SELECT avg(blob_bytes)::int FROM django_latentimg_compression"),
        },
        "worker_rss_mib": {
            # of the process that takes most, in the first tenth of the time and the last
            "start": round(max(max(sizes[:tenth]) for sizes in by_process)),
            "end": round(max(max(sizes[-tenth:]) for sizes in by_process)),
            "max": round(max(map(max, by_process))),
        },
    }


def report(told: dict[str, Any]) -> str:
    memory = told["worker_rss_mib"]
    lines = [
        f"{told['photographs']} uploads over HTTP, {told['workers']} worker processes at effort "
        f"{told['effort']}, {told['readers']} readers, all on {told['cores']} cores with "
        "PostgreSQL, Redis, RabbitMQ and gunicorn. Photographs have "
        f"{told['short_side']} pixels on the short side, "
        f"{told['mean_bytes']['source']:,} bytes in the mean, their blobs "
        f"{told['mean_bytes']['blob']:,}. Uploads arrived at random times, "
        f"{told['uploads_per_s']} a second: {told['share']:.0%} of what the workers did alone.",
        "",
        "| | |",
        "| --- | --- |",
        f"| photographs whose row holds a whole blob | {told['whole']} of {told['photographs']} |",
        f"| uploads that failed | {told['errors']} |",
        f"| answers to readers | {told['answers']} |",
        f"| files that belong to no row | {told['orphans']} |",
        f"| upload, p50 and p95 | {told['upload_ms']['p50']} and {told['upload_ms']['p95']} ms |",
        "| from upload to blob, p50 and p95 | "
        f"{told['to_blob_s']['p50']} and {told['to_blob_s']['p95']} s |",
        f"| a worker's time for one | {told['seconds_per_photograph']} s |",
        *(
            f"| reader's request, p50 and p95 | {ms['p50']} and {ms['p95']} ms |"
            for ms in [told["reader_ms"]]
            if ms
        ),
        "| a worker process's memory (PSS), most of the first tenth and of the last | "
        f"{memory['start']} and {memory['end']} MiB |",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
