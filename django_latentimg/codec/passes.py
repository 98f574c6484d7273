"""Forward passes that threads share: what fills a GPU is several pictures at once."""

from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock
from typing import Any

Run = Callable[[list[Any]], list[Any]]


@dataclass(frozen=True, eq=False)
class _Job:
    like: Hashable
    item: Any
    result: "Future[Any]"


class Passes:
    """One pass at a time; what threads bring while one is under way goes into the next together.

    So nobody ever waits for company, and a batch grows with the load (dynamic batching).
    """

    def __init__(self, most_pixels: int) -> None:
        """``most_pixels``: of all pictures of a pass; 0 where each thread runs its own at once."""
        self.most_pixels = most_pixels
        self._waiting: list[_Job] = []
        self._lock = Lock()
        self._pass = Lock()

    def __call__(self, run: Run, item: Any, *, pixels: int, like: Hashable) -> Any:
        """What ``run``, from a list of items to their results, makes of ``item``.

        ``like``: equal for items that any of their ``run`` may take together, as tensors of one
        shape to one end. Raises what ``run`` raises for this item alone.
        """
        most = self.most_pixels // pixels
        if most <= 1:
            return run([item])[0]
        job = _Job(like, item, Future())
        with self._lock:
            self._waiting.append(job)
        while not job.result.done():
            with self._pass:
                if not job.result.done():
                    _finish(run, self._take(job, most))
        return job.result.result()

    def _take(self, first: _Job, most: int) -> list[_Job]:
        """The jobs of the next pass, ``first`` among them."""
        with self._lock:
            others = [job for job in self._waiting if job.like == first.like and job is not first]
            taken = [first, *others[: most - 1]]
            for job in taken:
                self._waiting.remove(job)
        return taken


def _finish(run: Run, jobs: list[_Job]) -> None:
    try:
        results = run([job.item for job in jobs])
    except Exception as error:
        if len(jobs) == 1:
            jobs[0].result.set_exception(error)
            return
        # There may be memory for each alone; and if not, one's failure is not the others'.
        for job in jobs:
            _finish(run, [job])
    else:
        for job, result in zip(jobs, results, strict=True):
            job.result.set_result(result)
