"""Train the entropy coder's prior and turn it into integers: ``python -m training prior MODEL``.

The network learns to predict the symbols of the corpus, through the bundled encoder and, in Stable
Diffusion's space, the teacher's, at steps drawn log-uniformly, and the symbols that refinement
makes, at their own step: it minimises the code length under a discretised logistic distribution of
its expected value and spread. Its weights are then rounded, and the tables are the frequencies of
the symbols that the integer network, the one that will run, sends to each of them, smoothed by that
distribution. Writes ``weights/prior-SPACE.npz``, all integers.
"""

import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from django_latentimg.codec import prior
from django_latentimg.codec.models import SD1, WEIGHTS, load_model, space_of
from django_latentimg.codec.quantize import FINENESSES, quantise, step_of
from django_latentimg.codec.rangecoder import TOTAL
from django_latentimg.codec.rate import (
    OCTAVES_PER_STEP_INPUT,
    Expectation,
    load_expecter,
    neighbours,
)
from django_latentimg.codec.refine import refine

from .data import split

HIDDEN = 32
"""Units for each channel, in both layers."""
STEPS = 6000
BATCH = 24
"""Photographs; all their symbols are one batch."""
LEARNING_RATE = 4e-3
OWN = 1200
"""Photographs through the bundled encoder; as many through the teacher's, else twice as many."""
REFINED = 160
"""Photographs whose latents are refined, with ``REFINED_EFFORT``."""
REFINED_EFFORT = 2
REFINED_SHARE = 0.25
"""Share of a batch."""
TABLE_FINENESSES = range(1, 101, 3)
TABLE_PHOTOGRAPHS = 240
REPORTED_FINENESSES = (1, 13, 25, 38, 50, 63, 75, 88, 100)
REPORTED = 20
PSEUDO = 100.0
"""Weight of the smooth distribution in a table, in samples."""


class PriorNetwork(nn.Module):
    """The network in floats: latents in units of 1, weights in units of 1."""

    def __init__(self, units: int = HIDDEN, channels: int = prior.CHANNELS) -> None:
        super().__init__()
        inputs, rows = channels * len(prior.NEIGHBOURS), units + 2
        self.context = nn.Parameter(torch.randn(channels * rows, inputs) / inputs**0.5)
        self.bias = nn.Parameter(torch.zeros(channels * rows))
        self.step = nn.Parameter(torch.zeros(channels * rows))
        self.known = nn.Parameter(torch.randn(channels, rows, channels - 1) / 2)
        self.hidden = nn.Parameter(torch.randn(channels, units, units) * (2 / units) ** 0.5)
        self.hidden_bias = nn.Parameter(torch.zeros(channels, units))
        self.output = nn.Parameter(torch.zeros(channels, 2, units))
        with torch.no_grad():
            for tensor in (self.context.view(channels, rows, -1), self.known):
                tensor[:, -2:] = 0
        self.register_buffer("mask", torch.tril(torch.ones(channels, channels), -1)[:, None, :-1])

    mask: Tensor

    def forward(self, context: Tensor, here: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """``context`` (12 C, n), ``here`` (C, n), ``step`` (n,): (C, n) expected values in latents,
        and (C, n) logarithms to base 2 of the spread in symbols."""
        layer = self.context @ context + self.bias[:, None] + self.step[:, None] * step
        layer = layer.view(*self.known.shape[:2], -1) + (self.known * self.mask) @ here[:-1]
        hidden = F.relu(layer[:, :-2])
        hidden = F.relu(torch.bmm(self.hidden, hidden) + self.hidden_bias[:, :, None])
        outputs = torch.bmm(self.output, hidden) + layer[:, -2:]
        return outputs[:, 0], outputs[:, 1]

    def expect(self, latents: Tensor, steps: Tensor) -> Expectation:
        """As ``Expecter``: dequantised latents (N, C, h, w), the quantiser's steps (N,)."""
        count, channels, height, width = latents.shape
        here = latents.transpose(0, 1).reshape(channels, -1)
        told = torch.log2(steps / 0.5) / OCTAVES_PER_STEP_INPUT
        mean, octave = (
            each.view(channels, count, height, width).transpose(0, 1)
            for each in self(neighbours(latents), here, told.repeat_interleave(height * width))
        )
        limits = prior.SMALLEST_OCTAVE, prior.LARGEST_OCTAVE
        return Expectation(mean, torch.exp2(octave.clamp(*limits)))


Refined = tuple[NDArray[np.float16], NDArray[np.int64]]
"""Latents (N, 4, 40, 40) and the fineness of each."""


def train_network(
    latents: NDArray[np.float16],
    refined: Refined,
    seed: int,
    *,
    units: int = HIDDEN,
    total_steps: int = STEPS,
) -> PriorNetwork:
    """``latents`` (N, 4, 40, 40); ``units`` of each hidden layer, for each channel."""
    torch.manual_seed(seed)
    network = PriorNetwork(units)
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=total_steps, pct_start=0.05
    )
    random = np.random.default_rng(seed)
    low, high = step_of(100), step_of(1)
    count = round(BATCH * REFINED_SHARE) if len(refined[0]) else 0
    started, total = time.monotonic(), 0.0
    for number in range(1, total_steps + 1):
        plain = random.choice(len(latents), BATCH - count)
        chosen = random.choice(len(refined[0]), count)
        drawn = torch.from_numpy(np.concatenate([latents[plain], refined[0][chosen]])).float()
        any_step = low * (high / low) ** random.random(BATCH - count)
        own_step = [step_of(fineness) for fineness in refined[1][chosen].tolist()]
        steps = torch.from_numpy(np.concatenate([any_step, own_step])).float()
        each = steps.view(-1, 1, 1, 1)
        known = torch.round(drawn / each) * each
        loss = network.expect(known, steps).bits(known, steps).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        total += float(loss.detach())
        if number % 250 == 0:
            print(
                f"{number}: {total / 250:.4f} bits, {time.monotonic() - started:.0f} s", flush=True
            )
            total = 0.0
    return network


def to_integers(network: PriorNetwork) -> dict[str, NDArray[np.int32]]:
    """Weights of the integer network, and the constants of the 100 steps."""
    weight, bias = 2.0**prior.WEIGHT_BITS, 2.0**prior.WEIGHT_BITS * prior.UNIT
    scales = {"bias": bias, "hidden_bias": bias}
    values = {name: value.detach().numpy() for name, value in network.named_parameters()}
    values["known"] = values["known"] * network.mask.numpy()
    integers = {
        name: np.rint(value * scales.get(name, weight)).astype(np.int32)
        for name, value in values.items()
    }
    steps = np.array([step_of(fineness) for fineness in FINENESSES])
    integers["gain"] = np.rint(steps * prior.UNIT).astype(np.int32)
    integers["inverse"] = np.rint(
        2.0**prior.INVERSE_BITS * prior.PHASES / (steps * prior.UNIT)
    ).astype(np.int32)
    return integers


def smooth_tables() -> NDArray[np.float64]:
    """Logistic probabilities float64 (tables, 65); the last entry is the escape."""
    octaves = (np.arange(prior.SPREADS) + 0.5) / prior.TABLES_PER_OCTAVE + prior.SMALLEST_OCTAVE
    phase = (np.arange(prior.PHASES) + 0.5) / prior.PHASES
    edges = np.arange(-prior.REACH + 1, prior.REACH + 2) - 0.5
    z = (edges - phase[None, :, None]) / 2.0 ** octaves[:, None, None]
    cumulative = 1 / (1 + np.exp(-np.clip(z, -500, 500)))
    inside = np.diff(cumulative, axis=-1)
    outside = np.maximum(1 - inside.sum(-1, keepdims=True), 0)
    return np.concatenate([inside, outside], -1).reshape(-1, prior.ESCAPE + 1)


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


def save(network: PriorNetwork, counts: NDArray[np.float64], folder: Path, space: str) -> None:
    """``counts``: of what the tables of ``smooth_tables()`` are, float64 of that shape."""
    integers = to_integers(network)
    cumulative = to_cumulative(counts)
    np.savez_compressed(folder / prior.file_name(space), cumulative=cumulative, **integers)  # type: ignore[arg-type]
    for cached in (prior.load_weights, prior.load_tables, prior.load_network, load_expecter):
        cached.cache_clear()


def own_latents(name: str, photographs: NDArray[np.uint8]) -> NDArray[np.float16]:
    """uint8 (N, 3, 320, 320) -> what the bundled encoder makes of them, float16."""
    encoder = load_model(name)
    return np.stack(
        [encoder.encode(photograph.transpose(1, 2, 0)) for photograph in photographs]
    ).astype(np.float16)


def refined_latents(
    name: str, photographs: NDArray[np.uint8], seed: int, effort: int = REFINED_EFFORT
) -> Refined:
    """uint8 (N, 3, 320, 320) -> the bundled encoder's latents, refined at random steps."""
    model, random = load_model(name), np.random.default_rng(seed)
    finenesses = random.integers(15, 85, len(photographs))
    latents = []
    for photograph, fineness in zip(photographs, finenesses.tolist(), strict=True):
        rgb = np.ascontiguousarray(photograph.transpose(1, 2, 0))
        latents.append(refine(model, rgb, model.encode(rgb), fineness=fineness, effort=effort))
    return np.stack(latents).astype(np.float16), finenesses


def train_prior(corpus: Path, name: str, seed: int = 20223) -> None:
    """Of the space of a bundled model."""
    space = space_of(name)
    latents = np.load(corpus / "latents.npy", mmap_mode="r")
    pixels = np.load(corpus / "pixels.npy", mmap_mode="r")
    training, held_out = split(corpus)
    held_out = held_out[:REPORTED]
    drawn = np.random.default_rng(seed).choice(training, 2 * OWN + REFINED, replace=False)
    theirs, ours, to_refine = np.split(drawn, [OWN, 2 * OWN])
    refined = refined_latents(name, pixels[to_refine], seed)
    chosen = np.concatenate(
        [
            latents[theirs] if space == SD1 else own_latents(name, pixels[theirs]),
            own_latents(name, pixels[ours]),
        ]
    )
    network = train_network(chosen, refined, seed)
    counts = smooth_tables() * PSEUDO
    save(network, counts, WEIGHTS, space)
    half = TABLE_PHOTOGRAPHS // 2
    for fineness in TABLE_FINENESSES:
        for photograph in np.concatenate([chosen[:half], chosen[-half:]]):
            symbols = quantise(photograph.astype(np.float32), step_of(fineness))
            np.add.at(counts, prior.choose_tables(symbols, fineness, space)[:2], 1)
    for photograph, fineness in zip(refined[0], refined[1].tolist(), strict=True):
        symbols = quantise(photograph.astype(np.float32), step_of(fineness))
        np.add.at(counts, prior.choose_tables(symbols, fineness, space)[:2], 1)
    save(network, counts, WEIGHTS, space)
    if space == SD1:
        report("TAESD", space, latents[held_out])
    report(name, space, own_latents(name, pixels[held_out]))


def report(name: str, space: str, latents: NDArray[np.float16]) -> None:
    """Bits a symbol of held-out photographs, against an ideal zero-order coder of each."""
    for fineness in REPORTED_FINENESSES:
        coded, zero_order, count = 0, 0.0, 0
        for photograph in latents:
            symbols = quantise(photograph.astype(np.float32), step_of(fineness))
            coded += 8 * len(prior.encode_symbols(symbols, fineness, space))
            count += symbols.size
            for plane in symbols:
                share = np.unique(plane, return_counts=True)[1] / plane.size
                zero_order -= plane.size * float((share * np.log2(share)).sum())
        print(
            f"{name}, fineness {fineness}, step {step_of(fineness):.3f}: "
            f"{coded / count:.3f} bits a symbol, zero order {zero_order / count:.3f}",
            flush=True,
        )
