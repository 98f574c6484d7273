"""Who asks for which rendition, and how far a request gets: CDN, bucket, decoder."""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Classes:
    """Renditions that are asked for equally often and are equally large."""

    count: Floats
    rate: Floats
    """Requests of each, a second."""
    size: Floats
    """Bytes of each."""
    cost: Floats
    """Core seconds to make one."""


def popularity(pictures: int, exponent: float, bins: int = 600) -> tuple[Floats, Floats]:
    """Pictures by rank in bins: (pictures in each, share of all requests that each picture has)."""
    edges = np.unique(np.round(np.geomspace(1, pictures + 1, bins + 1)))
    count = np.diff(edges)
    rank = np.sqrt(edges[:-1] * (edges[1:] - 1))
    share = rank**-exponent
    return count, share / (count @ share)


def classes(
    pictures: int,
    exponent: float,
    requests: float,
    shares: Floats,
    sizes: Floats,
    costs: Floats,
) -> Classes:
    """``requests``: a second, over all; ``shares``, ``sizes``, ``costs``: of each width."""
    count, share = popularity(pictures, exponent)
    return Classes(
        np.repeat(count, len(shares)),
        np.outer(share * requests, shares).ravel(),
        np.tile(sizes, len(count)),
        np.tile(costs, len(count)),
    )


@dataclass(frozen=True)
class Steady:
    hits: float
    """Of the CDN, as share of its requests."""
    byte_rate: float
    """That browsers download, a second."""
    to_view: float
    """Requests a second that the CDN passes on."""
    decodes: float
    """A second."""
    cores: float
    """That decode all the time, in the mean."""
    cached: float
    """Renditions in the bucket."""
    cached_bytes: float
    average: float
    """Core seconds of a decode."""


def steady(asked: Classes, cdn: float, expiry: float) -> Steady:
    """An LRU cache of ``cdn`` bytes before a bucket that deletes ``expiry`` seconds after making.

    The first by Che's approximation ("Hierarchical Web caching systems", 2002), the second exactly,
    where requests come independently of each other.
    """
    time = _characteristic_time(asked, cdn)
    missed = asked.rate * np.exp(-asked.rate * time)
    made = missed / (1 + missed * expiry)
    there = made * expiry
    decodes = asked.count @ made
    return Steady(
        hits=float(1 - asked.count @ missed / (asked.count @ asked.rate)),
        byte_rate=float(asked.count @ (asked.rate * asked.size)),
        to_view=float(asked.count @ missed),
        decodes=float(decodes),
        cores=float(asked.count @ (made * asked.cost)),
        cached=float(asked.count @ there),
        cached_bytes=float(asked.count @ (there * asked.size)),
        average=float(asked.count @ (made * asked.cost) / decodes) if decodes else 0.0,
    )


def _characteristic_time(asked: Classes, cdn: float) -> float:
    """Seconds for which the cache keeps what nobody asks for."""

    def held(time: float) -> float:
        return float(asked.count @ (asked.size * -np.expm1(-asked.rate * time)))

    if held(1e12) <= cdn:
        return 1e12
    low, high = 0.0, 1e12
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if held(middle) < cdn else (low, middle)
    return high


def simulated_hits(
    pictures: int, exponent: float, kept: int, requests: int, seed: int = 0
) -> float:
    """Share of hits of an LRU cache of so many pictures: request by request, once it is warm."""
    random = np.random.default_rng(seed)
    weights = np.arange(1, pictures + 1) ** -exponent
    wanted = np.searchsorted(np.cumsum(weights / weights.sum()), random.uniform(size=requests))
    cache: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for number, picture in enumerate(wanted.tolist()):
        if picture in cache:
            cache.move_to_end(picture)
            hits += number >= requests // 2
        else:
            cache[picture] = None
            if len(cache) > kept:
                cache.popitem(last=False)
    return hits / (requests - requests // 2)
