"""Pictures and the workers that compress them: a simulation of every task, and the flow of days."""

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

BACKOFF, BACKOFF_MOST, ATTEMPTS = 60, 1200, 12
"""As in ``tasks.py`` and ``conf.py``."""

Times = NDArray[np.float64]


@dataclass(frozen=True)
class Faults:
    transient: float = 0.0
    """Probability that an attempt fails for what may pass."""
    deaths: float = 0.0
    """Of one worker, a second."""
    restart: float = 0.0
    """Seconds until there is another."""


@dataclass
class Told:
    waits: list[float] = field(default_factory=list)
    """Seconds from upload to blob."""
    done: int = 0
    backlog_done: int = 0
    quarantined: int = 0
    backlog_quarantined: int = 0
    backlog_left: int = 0
    fresh_left: int = 0
    """Still to do when the time was over."""
    deepest: int = 0
    """Most uploads that have waited for a worker at a time."""
    busy: float = 0.0
    """Worker seconds."""
    useful: float = 0.0
    """Of these, of attempts that went well."""
    ended: float = 0.0
    """When the last was done."""


def simulate(
    arrivals: Times,
    mean: float,
    workers: int,
    *,
    spread: float = 0.0,
    backlog: int = 0,
    faults: Faults | None = None,
    until: float = np.inf,
    seed: int = 0,
) -> Told:
    """Every task on its own: ``arrivals`` of uploads, which go before ``backlog`` pictures.

    ``mean``: seconds that a worker takes for one, ``spread`` their standard deviation over it
    (lognormal). A failed attempt is repeated after a random share of a delay that doubles, as
    Celery does; a dead worker's task goes to another at once, as RabbitMQ does.
    """
    faults = faults or Faults()
    random = np.random.default_rng(seed)
    sigma = np.sqrt(np.log1p(spread**2))

    def service() -> float:
        return float(mean * np.exp(sigma * random.standard_normal() - sigma**2 / 2))

    told = Told()
    free, order = workers, 0
    fresh: deque[tuple[float, int]] = deque()  # when it was uploaded, attempts so far
    again: deque[int] = deque()  # attempts so far of backlog that failed
    untouched = backlog
    events: list[tuple[float, int, str, Any]] = []

    def later(time: float, kind: str, what: Any = None) -> None:
        nonlocal order
        order += 1
        heapq.heappush(events, (time, order, kind, what))

    def retry(now: float, uploaded: float | None, attempts: int, *, lost: bool) -> None:
        """``lost``: with its worker, so no delay."""
        if attempts >= ATTEMPTS:
            told.quarantined += 1
            told.backlog_quarantined += uploaded is None
            told.ended = now
            return
        most = min(BACKOFF_MOST, BACKOFF * 2 ** (attempts - 1))
        delay = 0.0 if lost else float(random.uniform(0, most))
        later(now + delay, "ready", (uploaded, attempts))

    upcoming = iter(arrivals)

    def next_upload() -> None:
        time = next(upcoming, None)
        if time is not None:
            later(float(time), "upload")

    next_upload()
    now = 0.0
    while True:
        while free and (fresh or again or untouched):
            if fresh:
                uploaded, attempts = fresh.popleft()
                who: float | None = uploaded
            else:
                who = None
                if again:
                    attempts = again.popleft()
                else:
                    untouched, attempts = untouched - 1, 0
            free -= 1
            took = service()
            what = (who, attempts + 1, now, took)
            death = random.exponential(1 / faults.deaths) if faults.deaths else np.inf
            if death < took:
                later(now + death, "died", what)
            elif faults.transient and random.random() < faults.transient:
                later(now + took * random.random(), "failed", what)
            else:
                later(now + took, "done", what)
        told.deepest = max(told.deepest, len(fresh))
        if not events or events[0][0] > until:
            break
        now, _, kind, what = heapq.heappop(events)
        if kind == "upload":
            fresh.append((now, 0))
            next_upload()
        elif kind == "ready":
            who, attempts = what
            if who is None:
                again.append(attempts)
            else:
                fresh.append((who, attempts))
        elif kind == "worker":
            free += 1
        else:
            who, attempts, began, took = what
            told.busy += now - began
            if kind == "died":
                later(now + faults.restart, "worker")
                retry(now, who, attempts, lost=True)
                continue
            free += 1
            if kind == "failed":
                retry(now, who, attempts, lost=False)
                continue
            told.done += 1
            told.useful += took
            told.ended = now
            if who is None:
                told.backlog_done += 1
            else:
                told.waits.append(now - who)
    under_way = [what[0] for _, _, kind, what in events if kind not in ("upload", "worker")]
    told.backlog_left = untouched + len(again) + sum(who is None for who in under_way)
    told.fresh_left = len(fresh) + sum(who is not None for who in under_way)
    return told


def uploads(a_day: float, swing: float, seconds: float, seed: int = 0) -> Times:
    """Moments of a Poisson process whose rate is a sine over the day, lowest at its beginning."""
    random = np.random.default_rng(seed)
    most = a_day * (1 + swing) / 86_400
    count = random.poisson(most * seconds)
    times = np.sort(random.uniform(0, seconds, count))
    share = (1 - swing * np.cos(2 * np.pi * times / 86_400)) / (1 + swing)
    kept: Times = times[random.uniform(size=count) < share]
    return kept


@dataclass(frozen=True)
class Flow:
    days: float
    """Until the backlog is gone; infinite if it never is."""
    deepest: float
    """Most uploads that have waited."""


def flow(
    backlog: float, cores: float, seconds: float, a_day: float, swing: float, steps: int = 288
) -> Flow:
    """Of a backlog that gets what uploads leave, in steps of a day; ``seconds``: a picture's."""
    step = 86_400 / steps
    moments = (np.arange(steps) + 0.5) * step
    arriving = a_day / steps * (1 - swing * np.cos(2 * np.pi * moments / 86_400))
    capacity = cores / seconds * step
    waiting, deepest = 0.0, 0.0
    spare = np.zeros(steps)
    for _ in range(2):  # The second day is like all that follow.
        for number, new in enumerate(arriving):
            waiting += new
            done = min(waiting, capacity)
            waiting -= done
            spare[number] = capacity - done
            deepest = max(deepest, waiting)
    a_days = float(spare.sum())
    if a_days <= 0 or (waiting > 1e-6 and a_day >= capacity * steps):
        return Flow(np.inf, deepest)
    whole, left = divmod(backlog, a_days)
    last = int(np.searchsorted(np.cumsum(spare), left)) if left else 0
    part = (last + 1) / steps if left else 0.0
    return Flow(whole + min(part, 1.0), deepest)


def quarantined(outage: float, pictures: int = 20_000, seed: int = 0) -> float:
    """Share of the pictures first tried during an outage of so many seconds for which that was the
    whole of their attempts: nobody tries these again until told to."""
    random = np.random.default_rng(seed)
    delays = [min(BACKOFF_MOST, BACKOFF * 2**number) for number in range(ATTEMPTS - 1)]
    last = random.uniform(0, outage, pictures) + random.uniform(
        0, delays, (pictures, len(delays))
    ).sum(1)
    return float((last < outage).mean())
