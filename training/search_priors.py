"""Priors of several widths on equal compute; see ``search.py``."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from django_latentimg.codec import prior
from django_latentimg.codec.models import SD1
from django_latentimg.codec.quantize import step_of
from django_latentimg.codec.rate import Expecter

from .candidates import PRIORS
from .data import split
from .device import CPU
from .prior import PriorNetwork, Refined, to_integers, train_network
from .search import SEED, fastest, logger, read_log
from .train import Expect

SECONDS = 50.0
"""Of CPU time, for each."""
PROBE = 40
"""Steps that tell how many fit into these seconds."""
PHOTOGRAPHS = 1200
"""Whose latents, the teacher's, are trained on."""
FINENESS = 50
"""Of the network that is timed; others take as long."""
STEPS = (0.25, 0.5, 1.0)
"""Of the quantiser, at which held-out latents are priced."""
CELLS = 64
"""Side of the latents that are timed: a picture of 512×512 pixels."""

UNREFINED: Refined = np.empty((0, 4, 40, 40), np.float16), np.empty(0, np.int64)


def search_priors(corpus: Path) -> None:
    """Train those that the log lacks, and price all latents that were held out."""
    done = {row["candidate"] for row in read_log("prior", "measure")}
    if done == {*PRIORS, "bundled"}:
        return
    latents = np.load(corpus / "latents.npy", mmap_mode="r")
    training, held_out = split(corpus)
    chosen = np.random.default_rng(SEED).choice(training, PHOTOGRAPHS, replace=False)
    drawn, wanted = latents[np.sort(chosen)], torch.from_numpy(latents[held_out]).float()
    log_times()
    for name, units in PRIORS.items():
        if name in done:
            continue
        started = time.process_time()
        train_network(drawn, UNREFINED, SEED, units=units, total_steps=PROBE)
        steps = round(SECONDS * PROBE / (time.process_time() - started))
        started = time.process_time()
        network = train_network(drawn, UNREFINED, SEED, units=units, total_steps=steps)
        logger("prior", "train")(
            {
                "candidate": name,
                "step": steps,
                "seconds": round(time.process_time() - started, 1),
            }
        )
        logger("prior", "measure")({"candidate": name} | price(network_bits(network), wanted))
    if "bundled" not in done:
        logger("prior", "measure")({"candidate": "bundled"} | price(bundled_bits(), wanted))


def log_times() -> None:
    """They do not depend on the weights."""
    networks = {name: PriorNetwork(units) for name, units in PRIORS.items()}
    times = fastest({name: integer_work(network) for name, network in networks.items()})
    for name, network in networks.items():
        logger("prior", "time")(
            {
                "candidate": name,
                "milliseconds": round(times[name], 1),
                "parameters": sum(value.numel() for value in network.parameters()),
            }
        )


Price = Callable[[Tensor, float], Tensor]
"""Dequantised latents (N, 4, h, w) and the step -> bits of each symbol, float (N, 4, h, w)."""


def network_bits(network: PriorNetwork) -> Price:
    return bits_with(network.expect)


def bundled_bits() -> Price:
    return bits_with(Expecter(SD1, CPU))


def bits_with(expect: Expect) -> Price:
    def bits_of(known: Tensor, step: float) -> Tensor:
        steps = torch.full((len(known),), step)
        return expect(known, steps).bits(known, steps)

    return bits_of


def price(bits_of: Price, latents: Tensor) -> dict[str, list[float]]:
    """Mean bits of a symbol of each photograph, at each of ``STEPS``."""
    result = {}
    with torch.inference_mode():
        for step in STEPS:
            rows = [bits_of(torch.round(one / step) * step, step) for one in latents.split(1)]
            result[f"{step:g}"] = [round(float(row.mean()), 4) for row in rows]
    return result


def integer_work(network: PriorNetwork) -> Callable[[], object]:
    """What the integer network computes for a picture of 512×512 pixels while it is decoded."""
    data = {name: value.astype(np.float64) for name, value in to_integers(network).items()}
    integers = prior.Network(
        context=data["context"],
        bias=data["bias"][:, None] + data["step"][:, None] * prior.step_input(FINENESS),
        known=data["known"],
        hidden=data["hidden"],
        hidden_bias=data["hidden_bias"][:, :, None],
        output=data["output"],
        gain=float(data["gain"][FINENESS - 1]),
        inverse=float(data["inverse"][FINENESS - 1]),
    )
    random = np.random.default_rng(SEED)
    symbols: NDArray[np.int64] = np.rint(
        random.normal(0, 1 / step_of(FINENESS), (prior.CHANNELS, CELLS, CELLS))
    ).astype(np.int64)
    margin = prior.MARGIN
    padded = np.pad(symbols, ((0, 0), (margin, margin), (margin, margin)))
    latents = prior.to_inputs(padded.reshape(prior.CHANNELS, -1), integers)
    offsets = prior.neighbour_offsets(CELLS, CELLS)[:, None]

    def work() -> None:
        for places in prior.diagonals(CELLS, CELLS):
            layers = prior.first_layer(integers, latents, places + offsets)
            for channel in range(prior.CHANNELS):
                prior.distributions(integers, channel, layers[channel], latents[:channel, places])

    return work
