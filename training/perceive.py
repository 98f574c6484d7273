"""The guard's perceptual distance: fit what the bundled encoder sees to LPIPS.

``python -m training perceive`` damages photographs in the ways that the guard will have to
compare, at full and at half size, and fits LPIPS of the damage to the encoder's view of it by ridge
regression of the logarithms. The held-out photographs tell how well that does.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from django_latentimg import codec
from django_latentimg.codec.perceptual import LEAST, WEIGHTS, differences, features, logarithm

from .data import Crops, to_float
from .perceptual import Perceptual

PHOTOGRAPHS = 110
"""To fit to."""
FILES = (("AVIF", 15), ("AVIF", 35), ("AVIF", 60), ("WEBP", 20), ("JPEG", 20))
"""Ordinary codecs and their qualities."""
BLOBS = ((15, 0), (50, 0), (80, 0), (50, 3))
"""Qualities and efforts of ours."""
RIDGE = 10.0

Rgb = NDArray[np.uint8]


class Sample(NamedTuple):
    """One damaged picture."""

    picture: tuple[int, int]
    """Photograph and side in pixels."""
    ours: bool
    held_out: bool
    lpips: float
    differences: NDArray[np.float32]


def perceive(corpus: Path, lpips: Path) -> None:
    """Write ``weights/perceptual.npz`` and print how well it agrees with LPIPS."""
    crops, measure = Crops(corpus, side=128, batch=1, seed=0), Perceptual(lpips)
    random = np.random.default_rng(20229)
    training = random.choice(crops.training, PHOTOGRAPHS, replace=False)
    samples: list[Sample] = []
    for held_out, chosen in ((False, training), (True, crops.validation)):
        for index in chosen.tolist():
            source = Image.fromarray(crops.pixels[index].transpose(1, 2, 0))
            samples += gather(index, source, held_out, measure)
            print(f"{len(samples)} samples", end="\r", flush=True)
    weights, bias = fit([sample for sample in samples if not sample.held_out])
    np.savez(WEIGHTS, weights=weights, bias=bias)
    report([sample for sample in samples if sample.held_out], weights, bias)


def gather(
    index: int, source: Image.Image, held_out: bool, measure: Perceptual
) -> Iterator[Sample]:
    side = source.width
    for ours, picture in damaged(source):
        for shown in (side, side // 2):
            pair = [
                np.asarray(image.resize((shown, shown), Image.Resampling.LANCZOS))
                for image in (source, picture)
            ]
            tensors = [
                to_float(torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None]) for rgb in pair
            ]
            with torch.inference_mode():
                distance = float(measure.everywhere(*tensors))
            yield Sample(
                (index, shown), ours, held_out, distance, differences(*map(features, pair))
            )


def damaged(source: Image.Image) -> Iterator[tuple[bool, Image.Image]]:
    for name, quality in FILES:
        target = io.BytesIO()
        source.save(target, name, quality=quality)
        yield False, Image.open(target).convert("RGB")
    for quality, effort in BLOBS:
        yield True, codec.decode(codec.encode(source, quality=quality, effort=effort))


def fit(samples: list[Sample]) -> tuple[NDArray[np.float32], float]:
    """(weights, bias) by ridge regression."""
    seen = np.stack([logarithm(sample.differences) for sample in samples]).astype(float)
    wanted = np.log(np.array([sample.lpips for sample in samples]) + LEAST)
    means, mean = seen.mean(0), wanted.mean()
    centred = (seen - means) / seen.std()
    normal = centred.T @ centred + RIDGE * np.eye(seen.shape[1])
    weights = np.linalg.solve(normal, centred.T @ (wanted - mean)) / seen.std()
    return weights.astype(np.float32), float(mean - means @ weights)


def report(samples: list[Sample], weights: NDArray[np.float32], bias: float) -> None:
    truth = np.array([sample.lpips for sample in samples])
    seen = np.stack([logarithm(sample.differences) for sample in samples])
    guess = np.exp(seen @ weights + bias) - LEAST
    error = float(np.mean(np.abs(guess - truth) / truth))
    correlation = float(np.corrcoef(guess, truth)[0, 1])
    print(f"{len(samples)} held out: correlation {correlation:.3f}, mean error {error:.1%}")
    agreed: dict[str, list[bool]] = {"all": [], "within 40 %": []}
    for i, one in enumerate(samples):
        for j, other in enumerate(samples):
            if one.picture == other.picture and one.ours and not other.ours:
                same = bool((guess[i] < guess[j]) == (truth[i] < truth[j]))
                agreed["all"].append(same)
                if max(truth[i], truth[j]) < 1.4 * min(truth[i], truth[j]):
                    agreed["within 40 %"].append(same)
    for name, votes in agreed.items():
        share = sum(votes) / len(votes)
        print(f"Ours or another codec, {name}: {share:.1%} of {len(votes)} decided as LPIPS does")
