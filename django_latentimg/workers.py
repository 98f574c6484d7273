"""Celery's tasks, for code that runs without Celery too, and how long they may take."""

import os
from typing import Any

from .conf import conf

SECONDS, SECONDS_PER_MEGAPIXEL = 120, 45
"""Four times what two slow cores need at the highest effort."""
LAST_SECONDS = 60
"""From the soft limit, which the task can report, to the hard one, which ends its process."""


def task(name: str) -> Any:
    """One of ``tasks.py``; None where Celery is not installed."""
    try:
        from . import tasks
    except ModuleNotFoundError as error:
        if error.name != "celery":
            raise
        return None
    return getattr(tasks, name)


LONGEST_WAIT = 1200
"""Seconds. RabbitMQ takes a task from a worker that has had it for 1800, Redis after 3600."""


def time_limits(pixels: int | None) -> tuple[int, int]:
    """Celery's soft and hard limit in seconds for a picture of so many pixels, or of any size."""
    megapixels = min(pixels or conf.MAX_PIXELS, conf.MAX_PIXELS) / 1e6
    soft = round(SECONDS + SECONDS_PER_MEGAPIXEL * megapixels)
    return soft, soft + LAST_SECONDS


def threads_of(processes: int) -> int:
    """How many each of so many may have, or all of them would take all cores."""
    return max(1, (os.cpu_count() or 1) // processes)


def longest() -> int:
    """Seconds after which no attempt is going on any more that has begun before."""
    return time_limits(None)[1]
