"""Celery's tasks, for code that runs without Celery too."""

from typing import Any


def task(name: str) -> Any:
    """One of ``tasks.py``; None where Celery is not installed."""
    try:
        from . import tasks
    except ModuleNotFoundError as error:
        if error.name != "celery":
            raise
        return None
    return getattr(tasks, name)
