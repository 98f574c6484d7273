"""Stage 1: encoder and decoder jointly, through the quantiser, with TAESD as teacher.

``python -m training train CONFIG`` resumes from the last checkpoint in the run's folder. Each
batch has two halves. The first is the teacher's latents: the decoder learns to read any Stable
Diffusion encoder's output. The second is our encoder's latents: both networks learn to serve each
other. The encoder is held to the shared space by its distance to the teacher's latents and, every
few steps, by what the teacher's decoder makes of its output.
"""

import json
import time
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from django_latentimg.codec.distortion import pixel_loss, structure_loss, texture_loss
from django_latentimg.codec.lite import SCALES, LiteDecoder, LiteEncoder
from django_latentimg.codec.models import WEIGHTS, best_device, space_of
from django_latentimg.codec.quantize import step_of as quantiser_step
from django_latentimg.codec.rate import Expectation, Expecter

from .data import Crops, cut
from .device import mixed_precision, place
from .perceptual import Perceptual
from .prior import refined_latents
from .taesd import Taesd

SMALL_HEADS = ("small_trunk", "eighth_head", "quarter_head", "half_head")
"""Of the decoder, what serves no other output."""

EFFORT = 5
"""Of refinement, for the latents of ``Config.refined``: that of a worker."""


@dataclass(frozen=True)
class Config:
    """One stage; the names of the configuration file."""

    seed: int
    start_from_bundled: bool
    """Begin with the weights in the package, else with random ones."""
    steps: int
    """Step at which the learning rate reaches zero."""
    decay_from: int
    """First step of the linear decay; constant before."""
    warmup: int
    learning_rate: float
    batch: int
    side: int
    """Side of a crop, pixels."""
    teacher_share: float
    """Share of a batch whose latents are the teacher's."""
    detach_until: int
    """Before this step the encoder only imitates the teacher."""
    fidelity: float
    """Weight of the logarithm of each picture's squared error: of its PSNR."""
    structure: float
    """Weight of 1 - SSIM, of what the encoder's own latents decode to."""
    texture: float
    """Weight of the difference of local energies, likewise."""
    perceptual: float
    """Weight of LPIPS, likewise."""
    perceptual_taught: float
    """Weight of LPIPS of what the teacher's latents decode to."""
    distill: float
    """Weight of the encoder's distance to the teacher's latents."""
    distill_early: float
    """The same before ``detach_until``."""
    compatibility: float
    """Weight of the teacher's decode of our latents."""
    compatibility_every: int
    clean_share: float
    """Share of pictures whose latents are not quantised."""
    step_range: tuple[float, float]
    """Smallest and largest quantiser step, drawn log-uniformly."""
    price: float
    """Of a bit for every symbol, times the quantiser's step."""
    small_heads: float
    """Weight of the 1/2, 1/4 and 1/8 heads together."""
    grain: float = 0.0
    """Weight of what is wrong alike in every latent pixel's square of a picture."""
    heads_only: bool = False
    """Train these, and leave everything else as it is."""
    decoder_only: bool = False
    """Train this with its heads, and leave the encoder, and so the latents, as they are."""
    refined: int = 0
    """Photographs whose latents are refined through the bundled networks before the first step:
    crops of these are then half of the encoder's own. So a stage that begins with what the last one
    has exported alternates the two."""
    compiled: bool = False
    """Have the networks compiled before the first step: minutes, for faster steps."""
    model: str = "lite"
    """Bundled model: its weights, the prior of its space. Only ``lite`` has a teacher."""

    @classmethod
    def read(cls, path: Path) -> "Config":
        values = tomllib.loads(path.read_text())
        values["step_range"] = tuple(values["step_range"])
        return cls(**values)

    def rate_at(self, step: int) -> float:
        rise = min(1.0, (step + 1) / self.warmup)
        fall = min(1.0, (self.steps - step) / max(1, self.steps - self.decay_from))
        return self.learning_rate * rise * max(0.0, fall)


def quantise(latents: Tensor, steps: Tensor, noisy: Tensor, random: torch.Generator) -> Tensor:
    """Rounded to multiples of ``steps`` straight-through, or uniform noise where ``noisy``.

    ``latents`` float (N, 4, h, w); ``steps`` float (N,); ``noisy`` bool (N,).
    """
    steps, noisy = steps.view(-1, 1, 1, 1), noisy.view(-1, 1, 1, 1)
    rounded = latents + (torch.round(latents / steps) * steps - latents).detach()
    uniform = torch.rand(latents.shape, generator=random).to(latents) - 0.5
    noise = latents + uniform * steps
    return torch.where(noisy, noise, rounded)


class Coded(NamedTuple):
    """What a decoder gets of a batch of latents (N, 4, h, w)."""

    latents: Tensor
    """Float (N, 4, h, w)."""
    steps: Tensor
    """Of the quantiser, float (N,); 0 for pictures whose latents are clean."""
    hints: Tensor
    """Float (N, 8, h, w), without a gradient; 0 likewise."""
    bits: Tensor
    """Of a symbol, mean over each picture: float (N,)."""


Expect = Callable[[Tensor, Tensor], Expectation]
"""Of dequantised latents (N, C, h, w) and steps (N,): ``Expecter``, or a prior in training."""


def through_quantiser(
    latents: Tensor,
    expect: Expect,
    random: torch.Generator,
    *,
    clean_share: float,
    step_range: tuple[float, float],
    own_steps: Tensor | None = None,
) -> Coded:
    """Latents, float (N, C, h, w), at random steps; share and range are those of ``Config``.

    ``own_steps``: float (N,), at which latents are rounded; where 0, at random too.
    """
    low, high = (torch.tensor(bound).log() for bound in step_range)
    steps = torch.exp(low + (high - low) * torch.rand(len(latents), generator=random))
    clean = torch.rand(len(latents), generator=random) < clean_share
    noisy = torch.rand(len(latents), generator=random) < 0.5
    if own_steps is not None:
        given = own_steps > 0
        steps = torch.where(given, own_steps, steps)
        clean, noisy = clean & ~given, noisy & ~given
    steps, clean, noisy = (tensor.to(latents.device) for tensor in (steps, clean, noisy))
    quantised = torch.where(
        clean.view(-1, 1, 1, 1), latents, quantise(latents, steps, noisy, random)
    )
    with torch.autocast(latents.device.type, enabled=False):
        expected = expect(quantised, steps)
        bits = expected.bits(quantised, steps).mean((1, 2, 3))
        hints = expected.hints(quantised, steps).detach() * ~clean.view(-1, 1, 1, 1)
    return Coded(quantised, steps * ~clean, hints, bits)


def log_error(decoded: Tensor, source: Tensor) -> Tensor:
    """Mean over pictures of the logarithm of the mean squared error; -0.23 for a decibel.

    float (N, 3, H, W) in [-1, 1] each. The constant, at 46 dB, keeps flat pictures from weighing
    more than all others.
    """
    return ((decoded - source).square().mean((1, 2, 3)) + 1e-4).log().mean()


def grain_loss(decoded: Tensor, source: Tensor) -> Tensor:
    """Mean square of what the error has in common at a place of the grid of 8 × 8 pixels.

    float (N, 3, 8h, 8w) each; of each picture, beside its mean error. Unless it costs something, a
    decoder fills textures with one pattern of that size, which LPIPS takes for the noise that
    photographs have.
    """
    squares = (decoded - source).unflatten(3, (-1, 8)).unflatten(2, (-1, 8))
    common = squares.mean((2, 4))
    repeated: Tensor = common - common.mean((2, 3), keepdim=True)
    return repeated.square().mean()


def reduce(pictures: Tensor, factor: int) -> Tensor:
    """float (N, 3, H, W) -> (N, 3, H/factor, W/factor) by Lanczos' filter with three lobes.

    As Pillow does it. What a rendition is made with, so what the small heads are to match;
    ``factor`` is even.
    """
    offsets = (torch.arange(6 * factor, device=pictures.device) + 0.5) / factor - 3
    kernel = torch.sinc(offsets) * torch.sinc(offsets / 3)
    kernel = (kernel / kernel.sum()).expand(3, 1, -1)
    padded = F.pad(pictures, (5 * factor // 2,) * 4, mode="reflect")
    rows = F.conv2d(padded, kernel[..., None], stride=(factor, 1), groups=3)
    return F.conv2d(rows, kernel[:, :, None], stride=(1, factor), groups=3)


def start_from_bundled(networks: nn.ModuleDict, model: str) -> None:
    """Give the networks a bundled model's weights; a layer that is not there stays as it is."""
    bundled = load_file(WEIGHTS / model / "diffusion_pytorch_model.safetensors")
    state = networks.state_dict()
    for name, value in bundled.items():
        if name in state and state[name].shape == value.shape:
            state[name].copy_(value)


class Run(ABC):
    """State of one run: networks, their running averages, optimiser, step."""

    clock = staticmethod(time.monotonic)
    """Seconds; what ``seconds`` counts with."""

    def __init__(self, networks: nn.Module, run: Path, learning_rate: float) -> None:
        self.networks, self.run = networks, run
        self.device = next(networks.parameters()).device
        self.average = {key: value.clone() for key, value in networks.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            self.groups(networks), lr=learning_rate, weight_decay=1e-4, fused=True
        )
        self.step = 0
        self.seconds = 0.0
        self.usual_norm = 1.0
        """Running average of the gradient's norm."""
        self.checkpoint = run / "checkpoint.pt"
        if self.checkpoint.exists():
            self.resume()

    def groups(self, networks: nn.Module) -> list[dict[str, Any]]:
        """Of the optimiser; ``times`` is a group's learning rate in multiples of ``rate()``."""
        return [{"params": list(networks.parameters()), "times": 1.0}]

    @abstractmethod
    def losses(self) -> dict[str, Tensor]:
        """The terms of this step's loss, weighted; their sum is minimised."""

    @abstractmethod
    def rate(self) -> float:
        """This step's learning rate."""

    def resume(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.networks.load_state_dict(state["networks"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.usual_norm = state["usual_norm"]

    def save(self) -> None:
        state = {
            "networks": self.networks.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "usual_norm": self.usual_norm,
        }
        fresh = self.checkpoint.with_suffix(".new")
        torch.save(state, fresh)
        fresh.rename(self.checkpoint)
        # All that ``export`` and ``validate`` need, and small enough to travel.
        weights = {name: value.half().contiguous() for name, value in self.average.items()}
        save_file(weights, self.run / "weights.safetensors")

    def advance(self) -> dict[str, float]:
        """One step of the optimiser; the values of the loss terms."""
        started = self.clock()
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate() * group["times"]
        with mixed_precision(self.device):
            terms = self.losses()
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        # A few crops in a million would send networks without normalisation astray for good.
        # What is usual here, the first step tells.
        most = 2 * self.usual_norm if self.step else float("inf")
        norm = float(nn.utils.clip_grad_norm_(self.networks.parameters(), most))
        if self.step == 0:
            self.usual_norm = norm
        if norm < 10 * self.usual_norm:
            self.optimiser.step()
        self.usual_norm += 0.02 * (min(norm, 2 * self.usual_norm) - self.usual_norm)
        keep = min(0.999, (self.step + 1) / (self.step + 10))
        averages, values = list(self.average.values()), list(self.networks.state_dict().values())
        torch._foreach_lerp_(averages, values, 1 - keep)
        self.step += 1
        self.seconds += self.clock() - started
        return {name: float(value.detach()) for name, value in terms.items()} | {"norm": norm}


class Refined(NamedTuple):
    """Photographs whose latents are refined, each for a step of the quantiser."""

    pixels: NDArray[np.uint8]
    """(N, 3, S, S)."""
    latents: NDArray[np.float16]
    """(N, 4, S/8, S/8)."""
    finenesses: NDArray[np.int64]
    """Of the step, (N,)."""

    def crops(self, count: int, config: Config, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of the batch of one step: pixels, latents and quantiser's steps, as of ``Crops``."""
        random = np.random.default_rng((config.seed, step, self.latents.shape[0]))
        cells = config.side // 8
        chosen = random.choice(len(self.latents), count, replace=False)
        most = self.latents.shape[-1] - cells + 1
        tops, lefts = random.integers(0, most, (count, 2)).T
        places = zip(chosen, tops, lefts, strict=True)
        steps = [quantiser_step(each) for each in self.finenesses[chosen].tolist()]
        return *cut(self.pixels, self.latents, places, cells), torch.tensor(steps)


def refine_photographs(
    crops: Crops, chosen: NDArray[np.int64], config: Config, kept: Path
) -> Refined:
    """``chosen``: indices of the corpus; ``kept``: where they are for a run that goes on."""
    pixels = np.array(crops.pixels[chosen])
    if not kept.exists():
        latents, finenesses = refined_latents(config.model, pixels, config.seed, EFFORT)
        np.savez(kept, latents=latents, finenesses=finenesses)
    with np.load(kept) as stored:
        return Refined(pixels, stored["latents"], stored["finenesses"])


class Trainer(Run):
    """Encoder and decoder together."""

    def __init__(self, config: Config, corpus: Path, run: Path, teacher: Path, lpips: Path) -> None:
        torch.manual_seed(config.seed)
        self.config, device = config, best_device()
        self.crops = Crops(corpus, side=config.side, batch=config.batch, seed=config.seed)
        self.teacher = place(Taesd(teacher), device)
        self.perceptual = place(Perceptual(lpips), device)
        self.expecter = Expecter(space_of(config.model), device)
        networks = place(
            nn.ModuleDict({"encoder": LiteEncoder(), "decoder": LiteDecoder()}), device
        )
        if config.start_from_bundled:
            start_from_bundled(networks, config.model)
        self.encoder, self.decoder = networks.values()
        if config.decoder_only:
            self.encoder.requires_grad_(False)
        self.refined: Refined | None = None
        if config.refined:
            chosen = np.random.default_rng(config.seed).choice(
                self.crops.training, config.refined, replace=False
            )
            self.refined = refine_photographs(self.crops, chosen, config, run / "refined.npz")
        if config.heads_only:
            networks.requires_grad_(False)
            for head in SMALL_HEADS:
                getattr(self.decoder, head).requires_grad_(True)
        if config.compiled:
            for module in (self.encoder, self.decoder, self.perceptual):
                module.compile()
        super().__init__(networks, run, config.learning_rate)

    def rate(self) -> float:
        return self.config.rate_at(self.step)

    def losses(self) -> dict[str, Tensor]:
        config = self.config
        random = torch.Generator().manual_seed(config.seed * 1_000_003 + self.step)
        target, reference = (tensor.to(self.device) for tensor in self.crops.at(self.step))
        count = len(target)
        taught = round(count * config.teacher_share)
        early = self.step < config.detach_until

        latents = self.encoder(target).float()
        own = latents[taught:].detach() if early else latents[taught:]
        given = torch.cat([reference[:taught], own])
        own_steps = torch.zeros(count)
        if self.refined:
            last = count - (count - taught) // 2
            pixels, given[last:], own_steps[last:] = self.refined.crops(
                count - last, config, self.step
            )
            # A new tensor: the encoder's gradient may need the old one.
            target = torch.cat([target[:last], pixels.to(self.device)])
        quantised, steps, hints, bits = through_quantiser(
            given,
            self.expecter,
            random,
            clean_share=config.clean_share,
            step_range=config.step_range,
            own_steps=own_steps,
        )
        scales = SCALES[:-1] if config.heads_only else SCALES
        pictures = {
            scale: picture.float()
            for scale, picture in self.decoder(quantised, steps, hints, scales).items()
        }
        small = config.small_heads * self.small_loss(pictures, target) / 3
        if config.heads_only:
            return {"small": small}
        # The teacher's latents are to be read faithfully, our own are to look right as well.
        ours = pictures[1][taught:], target[taught:]
        terms = {
            "pixels": pixel_loss(pictures[1], target),
            "fidelity": config.fidelity * log_error(pictures[1], target),
            "structure": config.structure * structure_loss(*ours),
            "texture": config.texture * texture_loss(*ours),
            "perceptual": config.perceptual * self.perceptual.anywhere(*ours, random).mean(),
            "small": small,
        }
        if config.grain:
            terms["grain"] = config.grain * grain_loss(pictures[1], target)
        if taught and config.perceptual_taught:
            distances = self.perceptual.anywhere(pictures[1][:taught], target[:taught], random)
            terms["perceptual_taught"] = config.perceptual_taught * distances.mean()
        if config.decoder_only:
            return terms
        terms |= {
            "distill": (config.distill_early if early else config.distill)
            * F.mse_loss(latents, reference),
            "rate": config.price * (bits * steps)[taught:].mean(),
        }
        if not early and self.step % config.compatibility_every == 0:
            pair = slice(taught, taught + 2)
            theirs = self.teacher.decode(quantised[pair] + hints[pair, :4]).float()
            terms["compatibility"] = config.compatibility * (
                pixel_loss(theirs, target[pair])
                + config.fidelity * log_error(theirs, target[pair])
                + config.perceptual_taught
                * self.perceptual.anywhere(theirs, target[pair], random).mean()
            )
        return terms

    def small_loss(self, pictures: dict[int, Tensor], target: Tensor) -> Tensor:
        total = torch.zeros((), device=self.device)
        with torch.autocast(self.device.type, enabled=False):
            for scale in SCALES[:-1]:
                wanted = reduce(target, scale)
                total = total + pixel_loss(pictures[scale], wanted)
                total = total + self.config.structure * structure_loss(pictures[scale], wanted)
        return total

    def train(self) -> None:
        log = (self.run / "log.jsonl").open("a")
        sums: dict[str, list[float]] = {}
        while self.step < self.config.steps:
            for name, value in self.advance().items():
                sums.setdefault(name, []).append(value)
            if self.step % 50 == 0:
                row = {
                    "step": self.step,
                    "images": self.step * self.config.batch,
                    "seconds": round(self.seconds),
                    "learning_rate": self.rate(),
                } | {name: round(sum(values) / len(values), 5) for name, values in sums.items()}
                print(json.dumps(row), flush=True)
                log.write(json.dumps(row) + "\n")
                log.flush()
                sums = {}
            if self.step % 250 == 0 or self.step == self.config.steps:
                self.save()
        log.close()
