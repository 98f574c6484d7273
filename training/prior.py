"""Fit the static prior of the entropy coder: ``python -m training prior``.

For each of nine quantiser steps and each channel, the weights of the expected value and of the
spread minimise the code length of the corpus' symbols under a discretised logistic distribution.
The tables are then the symbols' own frequencies, gathered by spread and phase, smoothed by that
distribution. Writes ``weights/prior.npz``, all integers.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from django_latentimg.codec import prior
from django_latentimg.codec.models import load_model
from django_latentimg.codec.quantize import quantise, step_of
from django_latentimg.codec.rangecoder import TOTAL

from .data import HOLD_OUT

QUALITIES = (1, 13, 25, 38, 50, 63, 75, 88, 100)
"""One for each set of weights; ``prior.load_weights`` chooses the nearest."""

PHOTOGRAPHS = 240
REPORTED = 20
PLACES = 60_000
"""Places taken from the photographs for each channel and step."""

SCALES = 40
SMALLEST, LARGEST = 0.03, 80.0
"""Spreads of the first and the last table, symbols."""
PSEUDO = 300.0
"""Weight of the smooth distribution in a table, in samples."""

Inputs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def gather(latents: NDArray[np.float16], quality: int, channel: int, seed: int) -> Inputs:
    """Random places: values (9, n), activities (11, n) and the symbols there (n,)."""
    random = np.random.default_rng((seed, quality, channel))
    per_photograph = PLACES // len(latents)
    parts: list[Inputs] = []
    for photograph in latents:
        quantised = quantise(photograph.astype(np.float32), step_of(quality))
        height, width = quantised.shape[1:]
        margin = prior.MARGIN
        padded = np.pad(quantised, ((0, 0), (margin, margin), (margin, margin)))
        places = random.choice(np.concatenate(prior.diagonals(height, width)), per_photograph)
        inputs = prior.neighbours(padded, channel, places)
        parts.append((*inputs, padded.reshape(prior.CHANNELS, -1)[channel][places]))
    values, activities, symbols = zip(*parts, strict=True)
    return np.hstack(values), np.hstack(activities), np.concatenate(symbols)


def bits(symbols: Tensor, expected: Tensor, spread: Tensor) -> Tensor:
    """Code length of each symbol under a discretised logistic distribution."""
    upper = torch.sigmoid((symbols + 0.5 - expected) / spread)
    lower = torch.sigmoid((symbols - 0.5 - expected) / spread)
    return -torch.log2((upper - lower).clamp_min(2.0**-prior.ESCAPE_BITS))


def fit(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of the expected value (9,), of the spread (11,) and its floor ()."""
    values, activities, symbols = (torch.from_numpy(part).float() for part in inputs)
    gram = values @ values.T + 1e-3 * len(symbols) * torch.eye(len(values))
    mean = torch.linalg.solve(gram, values @ symbols).requires_grad_()
    spread = torch.full((len(activities),), -4.0, requires_grad=True)
    floor = torch.tensor(-1.0, requires_grad=True)
    optimiser = torch.optim.LBFGS([mean, spread, floor], max_iter=80, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        width = F.softplus(floor) + F.softplus(spread) @ activities
        loss = bits(symbols, mean @ values, width.clamp_min(SMALLEST)).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    return mean.detach(), F.softplus(spread).detach(), F.softplus(floor).detach()


def smooth_tables(spreads: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logistic probabilities float64 (S, 8, 65); the last entry is the escape."""
    phases = 1 << prior.PHASE_BITS
    phase = (np.arange(phases) + 0.5) / phases
    edges = np.arange(-prior.REACH + 1, prior.REACH + 2) - 0.5
    z = (edges - phase[None, :, None]) / spreads[:, None, None]
    cumulative = 1 / (1 + np.exp(-np.clip(z, -500, 500)))
    inside = np.diff(cumulative, axis=-1)
    outside = np.maximum(1 - inside.sum(-1, keepdims=True), 0)
    return np.concatenate([inside, outside], -1)


def to_cumulative(counts: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Frequencies of at least 1 that sum to ``TOTAL``, cumulated: uint16 (..., 66)."""
    entries = counts.shape[-1]
    share = counts / counts.sum(-1, keepdims=True)
    frequency = 1 + np.floor(share * (TOTAL - entries)).astype(np.int64)
    largest = frequency.argmax(-1)[..., None]
    rest = TOTAL - frequency.sum(-1, keepdims=True)
    np.put_along_axis(frequency, largest, np.take_along_axis(frequency, largest, -1) + rest, -1)
    cumulative = np.concatenate([np.zeros((*counts.shape[:-1], 1), np.int64), frequency], -1)
    return np.cumsum(cumulative, -1).astype(np.uint16)


def own_latents(photographs: NDArray[np.uint8]) -> NDArray[np.float16]:
    """uint8 (N, 3, 320, 320) -> what the bundled encoder makes of them, float16."""
    encoder = load_model("lite")
    return np.stack(
        [encoder.encode(photograph.transpose(1, 2, 0)) for photograph in photographs]
    ).astype(np.float16)


def train_prior(corpus: Path, target: Path, seed: int = 20223) -> None:
    """Half of the photographs through the teacher's encoder, half through the bundled one."""
    latents = np.load(corpus / "latents.npy", mmap_mode="r")
    pixels = np.load(corpus / "pixels.npy", mmap_mode="r")
    index = np.arange(len(latents))
    training, held_out = index[index % HOLD_OUT != 0], index[index % HOLD_OUT == 0][:REPORTED]
    drawn = np.random.default_rng(seed).choice(training, PHOTOGRAPHS, replace=False)
    theirs, ours = np.split(drawn, 2)
    chosen = np.concatenate([latents[theirs], own_latents(pixels[ours])])

    spreads = np.geomspace(SMALLEST, LARGEST, SCALES)
    unit = 1 << prior.SPREAD_BITS
    thresholds = np.round(np.sqrt(spreads[1:] * spreads[:-1]) * unit).astype(np.int64)
    counts = smooth_tables(spreads) * PSEUDO
    tables = prior.Tables(thresholds, [])
    fitted: list[prior.Weights] = []
    for quality in QUALITIES:
        rows = []
        inputs = [gather(chosen, quality, channel, seed) for channel in range(prior.CHANNELS)]
        for channel in range(prior.CHANNELS):
            mean, spread, floor = fit(inputs[channel])
            rows.append(
                (
                    np.round(mean.numpy() * (1 << prior.MEAN_BITS)).astype(np.int64),
                    np.round(spread.numpy() * unit).astype(np.int64),
                    np.round(floor.numpy() * unit).astype(np.int64),
                )
            )
        weights = prior.Weights(*(np.stack(part) for part in zip(*rows, strict=True)))
        fitted.append(weights)
        for channel in range(prior.CHANNELS):
            values, activities, symbols = inputs[channel]
            first, table = prior.distributions((values, activities), channel, weights, tables)
            index = symbols - first
            index[(index < 0) | (index >= prior.ESCAPE)] = prior.ESCAPE
            np.add.at(counts.reshape(-1, prior.ESCAPE + 1), (table, index), 1)
        print(f"quality {quality}: fitted", flush=True)

    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        target,
        mean=np.stack([weights.mean for weights in fitted]).astype(np.int16),
        spread=np.stack([weights.spread for weights in fitted]).astype(np.int32),
        floor=np.stack([weights.floor for weights in fitted]).astype(np.int32),
        thresholds=thresholds.astype(np.int32),
        cumulative=to_cumulative(counts),
    )
    report("TAESD", latents[held_out])
    report("lite", own_latents(pixels[held_out]))


def report(name: str, latents: NDArray[np.float16]) -> None:
    """Bits a symbol of held-out photographs, against an ideal zero-order coder of each."""
    for quality in QUALITIES:
        coded, zero_order, count = 0, 0.0, 0
        for photograph in latents:
            symbols = quantise(photograph.astype(np.float32), step_of(quality))
            coded += 8 * len(prior.encode_symbols(symbols, quality))
            count += symbols.size
            for plane in symbols:
                share = np.unique(plane, return_counts=True)[1] / plane.size
                zero_order -= plane.size * float((share * np.log2(share)).sum())
        print(
            f"{name}, quality {quality}, step {step_of(quality):.3f}: "
            f"{coded / count:.3f} bits a symbol, zero order {zero_order / count:.3f}",
            flush=True,
        )
