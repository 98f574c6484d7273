"""A Celery worker in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

STOP_SECONDS = 60
"""How long a worker may take to finish the picture it is at."""


class Worker:
    """A running worker; its output is in ``log``."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def died(self) -> bool:
        return self.process.poll() is not None

    def last_words(self, lines: int = 20) -> str:
        text = self.log.read_text(errors="replace").splitlines()
        return "\n".join(text[-lines:])

    def stop(self) -> None:
        """Let it finish the picture it is at, unless that takes long or Ctrl-C comes again."""
        if self.died:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self.process.kill()
            self.process.wait()


@contextmanager
def running_worker() -> Iterator[Worker]:
    """Start a worker, and stop it at the end."""
    log = Path(settings.DATA_DIR) / "worker.log"
    # The network is the work: one process, which torch fills with threads.
    command = [sys.executable, "-m", "celery", "-A", "shop_site", "worker", "--pool", "solo"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO"]
    environment = os.environ | {"SHOP_DATA_DIR": str(settings.DATA_DIR)}
    with log.open("ab") as output:
        process = subprocess.Popen(
            command + quiet,
            cwd=settings.BASE_DIR,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for the command that started it, which then stops the worker in order.
            start_new_session=True,
        )
    worker = Worker(process, log)
    try:
        yield worker
    finally:
        worker.stop()
