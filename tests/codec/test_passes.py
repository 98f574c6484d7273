"""Threads that share forward passes, as on a GPU."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from django_latentimg import codec
from django_latentimg.codec import Latent, models, passes
from django_latentimg.codec.guard import Guard
from django_latentimg.codec.passes import Passes
from django_latentimg.codec.refine import refine
from tests.conftest import picture

PIXELS = 96 * 64


class Doubles:
    """Its first pass lasts until so many others wait."""

    def __init__(self, passes: Passes, others: int) -> None:
        self.passes, self.others = passes, others
        self.batches: list[list[int]] = []

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        while len(self.batches) == 1 and len(self.passes._waiting) < self.others:
            time.sleep(0.001)
        if any(item < 0 for item in items):
            raise ValueError(f"{items} cannot be doubled")
        return [2 * item for item in items]


def double(items: list[int], like: Any = lambda item: "all", most: int = 4) -> tuple[Any, Any]:
    """(what each came to, the passes it took)."""
    passes = Passes(most * 10)
    doubles = Doubles(passes, len(items) - 1)

    def one(item: int) -> Any:
        try:
            return passes(doubles, item, pixels=10, like=like(item))
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(len(items)) as threads:
        results = list(threads.map(one, items))
    assert not passes._waiting
    return results, sorted(map(sorted, doubles.batches))


def test_passes__what_waits_goes_together():
    results, batches = double(list(range(9)))
    assert results == [2 * number for number in range(9)]
    assert sorted(map(len, batches)) == [1, 4, 4]
    assert sorted(number for batch in batches for number in batch) == list(range(9))


def test_passes__only_what_is_alike():
    results, batches = double([1, 2, 3, 4, 5, 6], like=lambda item: item % 2)
    assert results == [2, 4, 6, 8, 10, 12]
    assert all(len({item % 2 for item in batch}) == 1 for batch in batches)
    assert sorted(map(len, batches)) == [1, 2, 3]


def test_passes__one_that_fails_fails_alone():
    results, batches = double([1, -2, 3, 4, 5], most=8)
    assert results == [2, "[-2] cannot be doubled", 6, 8, 10]
    assert sorted(map(len, batches)) in ([1, 1, 1, 1, 1, 4], [1, 4])  # The first may be the -2.


def test_passes__everybody_for_himself_where_there_is_no_gpu():
    seen = []
    assert Passes(0)(lambda items: seen.append(items) or items, 7, pixels=10, like=None) == 7
    assert seen == [[7]]


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> models.LatentModel:
    """The bundled model as on a GPU, four of these pictures a pass."""
    model = models.load_model("lite")
    # A processor's bfloat16 adds up in an order that depends on the shape.
    monkeypatch.setattr(model, "bfloat16", False)
    monkeypatch.setattr(model, "passes", Passes(0))
    return model


def shared(model: models.LatentModel, call: Callable[..., Any], given: list[Any]) -> list[Any]:
    """What it makes of each in a pass: the first alone, and the other three in one."""
    model.passes = Passes(4 * PIXELS)
    sizes: list[int] = []
    finish = passes._finish

    def spy(run: Any, jobs: Any) -> None:
        while not sizes and len(model.passes._waiting) < 3:
            time.sleep(0.001)
        sizes.append(len(jobs))
        finish(run, jobs)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(4) as threads:
        patch.setattr(passes, "_finish", spy)
        results = list(threads.map(call, *zip(*given, strict=True)))
    assert sizes == [1, 3]
    return results


@pytest.mark.parametrize("what", ["encode", "decode", "refine"])
def test_passes__a_batch_gives_what_each_gives_alone(together, what):
    rgbs = [np.asarray(picture(96, 64, seed=seed)) for seed in range(4)]
    latents = [together.encode(rgb) for rgb in rgbs]

    def decode(latents: Any, step: float) -> Any:
        return together.decode(latents, step=step, scale=2)

    def refined(rgb: Any, latents: Any, fineness: int) -> Any:
        return refine(together, rgb, latents, fineness=fineness, effort=1)

    call, given, tolerance = {
        "encode": (together.encode, [(rgb,) for rgb in rgbs], 1e-4),
        "decode": (decode, list(zip(latents, (0.2, 0.4, 0.6, 0.8), strict=True)), 1),
        "refine": (refined, list(zip(rgbs, latents, (20, 40, 60, 80), strict=True)), 2e-3),
    }[what]
    wanted = [call(*each) for each in given]
    for one, other in zip(shared(together, call, given), wanted, strict=True):
        assert np.abs(one.astype(float) - other.astype(float)).max() <= tolerance


def test_passes__photographs_of_many_threads(together):
    pictures = [picture(96 if seed % 3 else 64, 64, seed=seed) for seed in range(9)]
    guard = Guard(widths=(48,))
    alone = [codec.encode(image, guard=guard) for image in pictures]
    together.passes = Passes(4 * PIXELS)
    with ThreadPoolExecutor(9) as threads:
        blobs = list(threads.map(lambda image: codec.encode(image, guard=guard), pictures))
    for one, other in zip(blobs, alone, strict=True):
        assert Latent.from_bytes(one).verdict.kept == Latent.from_bytes(other).verdict.kept
        difference = np.subtract(codec.decode(one), codec.decode(other), dtype=float)
        assert np.abs(difference).mean() < 1
