"""The architecture search: ``python -m training search``; goes on where it stopped.

Trains all candidates of ``candidates.py`` in turns on the same batches, until each has had the same
CPU seconds, measures them on held-out photographs, and writes ``SEARCH.md`` from the log. The
learning rate follows the seconds spent, so that each candidate ends its own run. On the CPU, with
one thread.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.metrics import Lpips, psnr, ssimulacra2
from django_latentimg.codec.distortion import pixel_loss
from django_latentimg.codec.lite import HINTS, load_networks
from django_latentimg.codec.models import LITE_FOLDER, SD1, LiteModel
from django_latentimg.codec.rate import Expecter

from .browser import round_weights
from .candidates import DECODERS, ENCODERS, LARGER, LONGER, Candidate, Decoder, merged
from .data import Crops
from .device import CPU, place
from .perceptual import Perceptual
from .train import Run, log_error, through_quantiser

LOG = Path(__file__).parent / "logs" / "search.jsonl"

SEED = 20231
BATCH, SIDE = 8, 128
SECONDS = {"decoder": 110.0, "encoder": 70.0, "larger": 110.0, "longer": 1100.0}
"""Of CPU time, for each candidate, or once of its ``times``."""
TURN = 10.0
"""CPU seconds after which the next candidate trains: what else the machine does slows all alike."""
LEARNING_RATE = 1e-3
RISE, FALL, ZERO = 6.0, 0.47, 1.18
"""The learning rate rises in so many seconds, falls after a share of all, and would be zero after
another: the run ends at a quarter of it."""
FIDELITY, PERCEPTUAL = 0.05, 0.3
"""As ``gpu.toml`` weighs them for the teacher's latents."""
DISTILL = 0.7
CLEAN_SHARE, STEP_RANGE = 0.4, (0.15, 1.6)

MEASURED = 12
"""Of the photographs that were held out."""
STEPS = (0.0, 0.5, 1.0)
"""Of the quantiser; 0: clean."""
ROUNDS = 10
"""Every candidate is timed so often, in turns; the fastest counts."""
TIMED_SIDE = 512

Row = dict[str, Any]


class Material:
    """What all candidates share."""

    def __init__(self, corpus: Path, lpips: Path) -> None:
        self.crops = Crops(corpus, side=SIDE, batch=BATCH, seed=SEED)
        self.perceptual = place(Perceptual(lpips), CPU)
        self.lpips = Lpips(lpips)
        self.expecter = Expecter(SD1, CPU)
        self.bundled = place(load_networks(LITE_FOLDER), CPU).requires_grad_(False)


class Search(Run):
    """One candidate's training, whose end is so many CPU seconds away."""

    clock = staticmethod(time.process_time)

    def __init__(
        self, candidate: Candidate, material: Material, folder: Path, seconds: float
    ) -> None:
        torch.manual_seed(candidate.seed)
        self.material, self.limit = material, seconds
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(place(candidate.build(), CPU), folder, LEARNING_RATE)

    def rate(self) -> float:
        rise = 0.02 + self.seconds / RISE
        fall = (ZERO - self.seconds / self.limit) / (ZERO - FALL)
        return LEARNING_RATE * max(0.0, min(1.0, rise, fall))

    def batch(self) -> tuple[Tensor, Tensor, torch.Generator]:
        """Pixels, the teacher's latents, and the step's randomness."""
        random = torch.Generator().manual_seed(SEED * 1_000_003 + self.step)
        target, reference = self.material.crops.at(self.step)
        return target, reference, random

    def terms(
        self, latents: Tensor, decoder: nn.Module, target: Tensor, random: torch.Generator
    ) -> dict[str, Tensor]:
        """Of what the latents decode to after the quantiser."""
        coded = through_quantiser(
            latents,
            self.material.expecter,
            random,
            clean_share=CLEAN_SHARE,
            step_range=STEP_RANGE,
        )
        picture = decoder(coded.latents, coded.steps, coded.hints, (1,))[1].float()
        # LPIPS takes longer than all else together, so it sees half of the crops.
        half = len(target) // 2
        return {
            "pixels": pixel_loss(picture, target),
            "fidelity": FIDELITY * log_error(picture, target),
            "perceptual": PERCEPTUAL
            * self.material.perceptual.anywhere(picture[:half], target[:half], random).mean(),
        }

    def trained(self) -> nn.Module:
        """The running average, as it would be shipped."""
        network = self.networks
        current = {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict(self.average)
        result = merged(network).eval()
        network.load_state_dict(current)
        return result


class DecoderSearch(Search):
    """From the teacher's latents."""

    def losses(self) -> dict[str, Tensor]:
        target, reference, random = self.batch()
        return self.terms(reference, self.networks, target, random)


class EncoderSearch(Search):
    """To the teacher's latents, and to what the bundled decoder makes a picture of."""

    def losses(self) -> dict[str, Tensor]:
        target, reference, random = self.batch()
        latents = self.networks(target).float()
        terms = self.terms(latents, self.material.bundled["decoder"], target, random)
        return terms | {"distill": DISTILL * F.mse_loss(latents, reference)}


def take_turns(runs: dict[str, Search], log: Callable[[Row], None]) -> None:
    """Until each has had its seconds."""
    while unfinished := {name: run for name, run in runs.items() if run.seconds < run.limit}:
        fewest = min(run.seconds for run in unfinished.values())
        for name, run in unfinished.items():
            sums: dict[str, float] = {}
            started, until = run.step, min(run.limit, fewest + TURN)
            while run.seconds < until:
                for term, value in run.advance().items():
                    sums[term] = sums.get(term, 0.0) + value
            if run.step > started:
                run.save()
                means = {
                    term: round(total / (run.step - started), 5) for term, total in sums.items()
                }
                log({"candidate": name, "step": run.step, "seconds": round(run.seconds, 1)} | means)


def as_model(encoder: nn.Module | None = None, decoder: nn.Module | None = None) -> LiteModel:
    """As the package runs it."""
    networks = {"encoder": encoder, "decoder": decoder}
    return LiteModel(nn.ModuleDict({name: net for name, net in networks.items() if net}))


def fastest(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """CPU milliseconds of each."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            started = time.process_time()
            work()
            times[name].append(1000 * (time.process_time() - started))
    return {name: min(each) for name, each in times.items()}


def decode_times(candidates: dict[str, Candidate]) -> dict[str, float]:
    """CPU milliseconds for a picture of 512×512 pixels, with random weights."""
    cells = TIMED_SIDE // 8
    random = np.random.default_rng(SEED)
    latents = random.normal(0, 0.7, (4, cells, cells)).astype(np.float32)
    hints = random.normal(0, 0.1, (HINTS, cells, cells)).astype(np.float32)

    def work(candidate: Candidate) -> Callable[[], object]:
        model = as_model(decoder=merged(candidate.build()))
        return lambda: model.decode(latents, hints, step=0.5)

    return fastest({name: work(candidate) for name, candidate in candidates.items()})


def encode_times(candidates: dict[str, Candidate]) -> dict[str, float]:
    """The same for encoders."""
    rgb = np.random.default_rng(SEED).integers(0, 256, (TIMED_SIDE, TIMED_SIDE, 3), np.uint8)

    def work(candidate: Candidate) -> Callable[[], object]:
        model = as_model(encoder=candidate.build())
        return lambda: model.encode(rgb)

    return fastest({name: work(candidate) for name, candidate in candidates.items()})


def multiply_adds(network: nn.Module) -> float:
    """Of the convolutions, for each pixel of the picture; of what ``merged`` makes of it."""
    side, total = 64, 0
    network = merged(network)

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d)
        total += output[0, 0].numel() * layer.weight.numel()

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    cells = side // 8
    with torch.inference_mode():
        if isinstance(network, Decoder):
            planes = torch.zeros(1, 4 + HINTS, cells, cells)
            network(planes[:, :4], torch.zeros(1), planes[:, 4:])
        else:
            network(torch.zeros(1, 3, side, side))
    return total / side**2


def with_rounded_weights(network: nn.Module) -> nn.Module:
    """A copy with weights of 8 bits for each output channel, as ``browser.py`` rounds them.

    The decoder's first convolution, which gets more bits there, is left as it is.
    """
    copy = merged(network)
    for name, layer in copy.named_modules():
        if isinstance(layer, nn.Conv2d) and name != "enter":
            levels, scale = round_weights(layer.weight.detach().numpy())
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(levels * scale[:, None, None, None]))
    return copy


def quantised(
    latents: NDArray[np.float32], step: float, expecter: Expecter
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """float32 (4, h, w) and its hints (8, h, w), none for clean latents."""
    if step == 0:
        return latents, None
    rounded = torch.from_numpy(np.rint(latents / step) * np.float32(step))[None]
    with torch.inference_mode():
        steps = torch.full((1,), step)
        hints = expecter(rounded, steps).hints(rounded, steps)
    return rounded[0].numpy(), hints[0].numpy()


def measure(model: LiteModel, material: Material, latents: list[NDArray[np.float32]]) -> Row:
    """Of every measured photograph, whose ``latents`` are given, at each of ``STEPS``."""
    row: dict[str, list[float]] = {}
    for step in STEPS:
        for pixels, planes in zip(photographs(material), latents, strict=True):
            rounded, hints = quantised(planes, step, material.expecter)
            decoded = model.decode(rounded, hints, step=step)
            for name, value in (
                ("psnr", psnr(pixels, decoded)),
                ("ssimulacra2", ssimulacra2(pixels, decoded)),
                ("lpips", material.lpips(pixels, decoded)),
            ):
                row.setdefault(f"{name} {step:g}", []).append(round(value, 5))
    return dict(row)


def photographs(material: Material) -> Iterator[NDArray[np.uint8]]:
    """uint8 (320, 320, 3), evenly from those held out."""
    for index in measured(material.crops.validation):
        yield np.ascontiguousarray(material.crops.pixels[index].transpose(1, 2, 0))


def measured(held_out: NDArray[np.int64]) -> NDArray[np.int64]:
    """``MEASURED`` of them, evenly."""
    places = np.arange(MEASURED) * len(held_out) // MEASURED
    chosen: NDArray[np.int64] = held_out[np.unique(places)]
    return chosen


def search(corpus: Path, runs: Path, lpips: Path) -> None:
    """Everything that the log does not hold already."""
    from .search_priors import search_priors
    from .search_report import write_report

    torch.set_num_threads(1)
    networks = (
        ("decoder", DECODERS, DecoderSearch),
        ("encoder", ENCODERS, EncoderSearch),
        ("larger", LARGER, DecoderSearch),
        ("longer", LONGER, DecoderSearch),
    )
    for kind, candidates, trainer in networks:
        if set(candidates) - {row["candidate"] for row in read_log(kind, "measure")}:
            search_networks(kind, candidates, trainer, corpus, runs, lpips)
            write_report()
    search_priors(corpus)
    write_report()


def read_log(kind: str, what: str) -> list[Row]:
    """``what`` is what a row tells: ``time``, ``train``, ``measure`` or ``size``."""
    if not LOG.exists():
        return []
    rows = [json.loads(line) for line in LOG.read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind and row["what"] == what]


def logger(kind: str, what: str) -> Callable[[Row], None]:
    def write(row: Row) -> None:
        line = json.dumps({"kind": kind, "what": what} | row)
        print(line[:150], flush=True)
        with LOG.open("a") as log:
            log.write(line + "\n")

    return write


def search_networks(
    kind: str,
    candidates: dict[str, Candidate],
    trainer: type[Search],
    corpus: Path,
    runs: Path,
    lpips: Path,
) -> None:
    """Time, train and measure; ``kind`` is a key of ``SECONDS``."""
    times = (encode_times if kind == "encoder" else decode_times)(candidates)
    for name, candidate in candidates.items():
        network = candidate.build()
        logger(kind, "time")(
            {
                "candidate": name,
                "milliseconds": round(times[name], 1),
                "multiply_adds": round(multiply_adds(network)),
                "parameters": sum(p.numel() for p in merged(network).parameters()),
            }
        )
    material = Material(corpus, lpips)
    logger(kind, "size")({"training": len(material.crops.training)})
    searches = {
        name: trainer(
            candidate,
            material,
            runs / f"search-{kind}-{name.replace(' ', '-')}",
            candidate.times * SECONDS[kind],
        )
        for name, candidate in candidates.items()
    }
    take_turns(searches, logger(kind, "train"))
    trained = {name: run.trained() for name, run in searches.items()}
    if kind == "encoder":
        measure_encoders(trained, material)
    else:
        measure_decoders(kind, trained | {"bundled": material.bundled["decoder"]}, material)


def measure_decoders(kind: str, networks: dict[str, nn.Module], material: Material) -> None:
    """With the teacher's latents."""
    done = {(row["candidate"], row["weights"]) for row in read_log(kind, "measure")}
    held_out = measured(material.crops.validation)
    latents = [material.crops.latents[index].astype(np.float32) for index in held_out]
    for weights, make in (("float", merged), ("int8", with_rounded_weights)):
        for name, network in networks.items():
            if (name, weights) not in done:
                model = as_model(decoder=make(network))
                row = {"candidate": name, "weights": weights}
                logger(kind, "measure")(row | measure(model, material, latents))


def measure_encoders(networks: dict[str, nn.Module], material: Material) -> None:
    """Through the bundled decoder, and their distance to the teacher's latents."""
    done = {row["candidate"] for row in read_log("encoder", "measure")}
    held_out = measured(material.crops.validation)
    for name, network in networks.items():
        if name not in done:
            model = as_model(network, material.bundled["decoder"])
            latents = [model.encode(rgb) for rgb in photographs(material)]
            theirs = (material.crops.latents[index].astype(np.float32) for index in held_out)
            distances = [
                round(float(np.mean((a - b) ** 2)), 5) for a, b in zip(latents, theirs, strict=True)
            ]
            row = {"candidate": name, "weights": "float", "distance": distances}
            logger("encoder", "measure")(row | measure(model, material, latents))
