"""The bundled latent denoiser: ``python -m training denoise`` resumes from the last checkpoint.

A small U-Net learns to tell the quantiser's error from the latents, of two encoders, TAESD's and
the bundled one: uniformly rounded at steps drawn log-uniformly, with the prior's hints, and through
Bühlmann's palette, dithered or not, without. At first it learns the error itself; later also what
the frozen TAESD decoder, which never saw quantised latents, makes of the result.

Needs diffusers, for the network that is to be shipped.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from django_latentimg.codec import palette
from django_latentimg.codec.distortion import pixel_loss
from django_latentimg.codec.lite import HINTS
from django_latentimg.codec.models import SD1, load_model
from django_latentimg.codec.rate import Expecter

from .data import split, to_float
from .device import CPU, mixed_precision
from .perceptual import Perceptual
from .taesd import Taesd
from .train import log_error

PHOTOGRAPHS = 1500
"""To train on."""
GROUPS = (1, 4, 16)
"""Photographs that share a palette, in turn: the more, the larger its error."""

SCHEDULE: dict[str, Any] = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "epsilon",
    "clip_sample": False,
}
"""Stable Diffusion 1.x's, so that a timestep is the same noise in both."""
NETWORK: dict[str, Any] = {
    "in_channels": 4 + HINTS,
    "out_channels": 4,
    "block_out_channels": (64, 96),
    "down_block_types": ("DownBlock2D",) * 2,
    "up_block_types": ("UpBlock2D",) * 2,
    "layers_per_block": 2,
    "norm_num_groups": 8,
    "add_attention": False,
}

SEED = 20231
STEPS = 4000
DECODED_FROM = 500
"""First step at which the decoder has a say."""
DECAY_FROM = 2000
WARMUP = 50
LEARNING_RATE = 1e-3
BATCH = 8
SIDE = 24
"""Side of a crop, latent pixels."""
DECODED = 2
"""Crops of a batch that are decoded."""
BORDER = 2
"""Latent pixels at a decoded crop's edge that are not looked at: their surroundings are missing."""
UNIFORM_SHARE = 0.4
"""Share of crops that were rounded; the others went through a palette, half of them dithered."""
STEP_RANGE = 0.25, 1.6
"""Smallest and largest quantiser step, drawn log-uniformly."""
ERROR = 0.5
"""Weight of the error itself once the decoder has a say."""
FIDELITY = 0.2
"""Weight of the logarithm of the decoded crops' squared error."""
PERCEPTUAL = 1.0
"""Weight of their LPIPS."""
VALIDATED = 16
"""Photographs."""


def code(latents: NDArray[np.float32], dither: bool) -> tuple[NDArray[np.float32], float]:
    """float32 (4, h, w) -> what a palette makes of them, and its error's standard deviation.

    As ``palette.encode_palette`` and back, without the slow coding of the indices.
    """
    levels = palette.to_levels(latents)
    colours = palette.make_palette(levels.reshape(-1, 4))
    nearest = palette.nearest_dithered if dither else palette.nearest
    chosen = colours[nearest(levels, colours)].astype(np.int64)
    noise = float((levels - chosen).std()) * palette.LEVEL
    return palette.to_latents(chosen.transpose(2, 0, 1)), noise


def prepare(corpus: Path, target: Path) -> None:
    """Write latents and what palettes make of them, once; a few minutes.

    ``photographs`` int64 (N,): indices into the corpus, those held out last; ``clean`` float16
    (N, 2, 4, S, S): latents, TAESD's and the bundled encoder's; ``coded`` float16
    (N, 2, 2, 4, S, S): each through a palette, not dithered and dithered; ``noise`` float32
    (N, 2, 2): the palettes' errors, scaled latents.
    """
    pixels = np.load(corpus / "pixels.npy", mmap_mode="r")
    latents = np.load(corpus / "latents.npy", mmap_mode="r")
    training, held_out = split(corpus)
    drawn = np.random.default_rng(0).choice(training, PHOTOGRAPHS, replace=False)
    photographs = np.concatenate([drawn, held_out])
    lite = load_model("lite")
    count, shape = len(photographs), latents.shape[1:]
    clean = np.empty((count, 2, *shape), np.float16)
    for row, photograph in enumerate(photographs):
        clean[row, 0] = latents[photograph]
        clean[row, 1] = lite.encode(np.ascontiguousarray(pixels[photograph].transpose(1, 2, 0)))
    coded = np.empty((count, 2, 2, *shape), np.float16)
    noise = np.empty((count, 2, 2), np.float32)
    start, turn = 0, 0
    while start < count:
        rows = range(start, min(start + GROUPS[turn % len(GROUPS)], count))
        for encoder in range(2):
            together = np.concatenate([clean[row, encoder] for row in rows], 2)
            for dither in range(2):
                result, error = code(together.astype(np.float32), bool(dither))
                for row, part in zip(rows, np.split(result, len(rows), 2), strict=True):
                    coded[row, encoder, dither] = part
                noise[rows, encoder, dither] = error
        start, turn = rows.stop, turn + 1
    np.savez(target, photographs=photographs, clean=clean, coded=coded, noise=noise)


class Batch:
    """Latents as a blob gives them, and as they were: float (N, 4, h, w) each."""

    def __init__(self, given: Tensor, hints: Tensor, noise: Tensor, clean: Tensor) -> None:
        """``hints`` (N, 8, h, w) of the prior; ``noise`` (N,): standard deviation of the error."""
        self.centred = given + hints[:, :4]
        self.hints, self.noise, self.clean = hints, noise, clean


class Data:
    """The arrays of ``prepare()`` and the photographs themselves."""

    def __init__(self, corpus: Path, prepared: Path) -> None:
        with np.load(prepared) as arrays:
            self.photographs, self.clean, self.coded, self.noise = (
                arrays[name] for name in ("photographs", "clean", "coded", "noise")
            )
        self.pixels = np.load(corpus / "pixels.npy", mmap_mode="r")
        self.expecter = Expecter(SD1, CPU)

    def rounded(self, clean: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """float (N, 4, h, w) at ``steps`` (N,): rounded, with the prior's hints."""
        each = steps.view(-1, 1, 1, 1)
        given = torch.round(clean / each) * each
        return given, self.expecter(given, steps).hints(given, steps)

    def at(self, step: int) -> tuple[Batch, Tensor]:
        """Batch of one step, and the photographs of its first ``DECODED`` crops, in [-1, 1]."""
        random = np.random.default_rng((SEED, step))
        rows = random.choice(PHOTOGRAPHS, BATCH, replace=False)
        encoders = random.integers(0, 2, BATCH)
        clean = torch.from_numpy(self.clean[rows, encoders]).float()
        low, high = np.log(STEP_RANGE)
        steps = torch.from_numpy(np.exp(random.uniform(low, high, BATCH))).float()
        given, hints = self.rounded(clean, steps)
        noise = steps / 12**0.5
        dithers = random.integers(0, 2, BATCH)
        for index in np.flatnonzero(random.random(BATCH) >= UNIFORM_SHARE):
            chosen = rows[index], encoders[index], dithers[index]
            given[index] = torch.from_numpy(self.coded[chosen]).float()
            hints[index], noise[index] = 0, float(self.noise[chosen])
        corners = random.integers(0, clean.shape[-1] - SIDE + 1, (BATCH, 2))
        parts = [
            torch.stack(
                [
                    plane[:, top : top + SIDE, left : left + SIDE]
                    for plane, (top, left) in zip(planes, corners.tolist(), strict=True)
                ]
            )
            for planes in (given, hints, clean)
        ]
        crops = [
            self.pixels[photograph, :, top * 8 : (top + SIDE) * 8, left * 8 : (left + SIDE) * 8]
            for photograph, (top, left) in zip(
                self.photographs[rows[:DECODED]], corners.tolist(), strict=False
            )
        ]
        return Batch(parts[0], parts[1], noise, parts[2]), to_float(
            torch.from_numpy(np.stack(crops))
        )


class Denoising(nn.Module):
    """The network with its schedule: differentiable, a timestep for every crop."""

    ratios: Tensor

    def __init__(self) -> None:
        from diffusers import DDIMScheduler, UNet2DModel

        super().__init__()
        network: Any = UNet2DModel(**NETWORK)
        self.network = network.to(memory_format=torch.channels_last)
        scheduler: Any = DDIMScheduler(**SCHEDULE)
        self.scheduler, kept = scheduler, scheduler.alphas_cumprod
        self.register_buffer("ratios", ((1 - kept) / kept).sqrt(), persistent=False)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(Error that the network sees in units of the noise, latents without it)."""
        timesteps = (self.ratios - batch.noise[:, None]).abs().argmin(1)
        ratio = self.ratios[timesteps].view(-1, 1, 1, 1)
        scaled = batch.centred / (1 + ratio.square()).sqrt()
        inputs = torch.cat([scaled, batch.hints], 1).contiguous(memory_format=torch.channels_last)
        error: Tensor = self.network(inputs, timesteps).sample.float()
        return error, batch.centred - ratio * error


def train_denoiser(corpus: Path, run: Path, teacher: Path, lpips: Path, folder: Path) -> None:
    """Train or go on, measure on photographs that were held out, write ``folder``."""
    run.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(corpus, run, teacher, lpips)
    trainer.train()
    trainer.validate()
    trainer.export(folder)


class Trainer:
    """State of the run: the network, its running average, optimiser, step."""

    def __init__(self, corpus: Path, run: Path, teacher: Path, lpips: Path) -> None:
        torch.manual_seed(SEED)
        self.run = run
        prepared = run / "palettes.npz"
        if not prepared.exists():
            prepare(corpus, prepared)
        self.data = Data(corpus, prepared)
        self.teacher, self.perceptual = Taesd(teacher), Perceptual(lpips)
        self.teacher.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.denoising = Denoising()
        self.average = {key: v.clone() for key, v in self.denoising.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            self.denoising.parameters(), lr=LEARNING_RATE, weight_decay=1e-4, fused=True
        )
        self.step, self.seconds = 0, 0.0
        self.checkpoint = run / "checkpoint.pt"
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint, weights_only=True)
            self.denoising.load_state_dict(state["network"])
            self.average = state["average"]
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> None:
        state = {
            "network": self.denoising.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        fresh = self.checkpoint.with_suffix(".new")
        torch.save(state, fresh)
        fresh.rename(self.checkpoint)

    def losses(self) -> dict[str, Tensor]:
        """The terms of this step's loss, weighted; their sum is minimised."""
        batch, photographs = self.data.at(self.step)
        with mixed_precision(CPU):
            return self.of_batch(batch, photographs)

    def of_batch(self, batch: Batch, photographs: Tensor) -> dict[str, Tensor]:
        error, latents = self.denoising(batch)
        true = (batch.centred - batch.clean) / batch.noise.view(-1, 1, 1, 1)
        terms = {"error": F.mse_loss(error, true)}
        if self.step >= DECODED_FROM:
            inside = (..., slice(8 * BORDER, -8 * BORDER), slice(8 * BORDER, -8 * BORDER))
            decoded = self.teacher.decode(latents[:DECODED]).float()[inside]
            source = photographs[inside]
            terms["error"] = ERROR * terms["error"]
            terms["pixels"] = pixel_loss(decoded, source)
            terms["fidelity"] = FIDELITY * log_error(decoded, source)
            terms["perceptual"] = PERCEPTUAL * self.perceptual(decoded, source).mean()
        return terms

    def advance(self) -> dict[str, float]:
        """One step of the optimiser; the values of the loss terms."""
        started = time.monotonic()
        rise = min(1.0, (self.step + 1) / WARMUP)
        fall = min(1.0, (STEPS - self.step) / (STEPS - DECAY_FROM))
        for group in self.optimiser.param_groups:
            group["lr"] = LEARNING_RATE * rise * fall
        terms = self.losses()
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        nn.utils.clip_grad_norm_(self.denoising.parameters(), 1.0)
        self.optimiser.step()
        keep = min(0.99, (self.step + 1) / (self.step + 10))
        averages, values = list(self.average.values()), list(self.denoising.state_dict().values())
        torch._foreach_lerp_(averages, values, 1 - keep)
        self.step += 1
        self.seconds += time.monotonic() - started
        return {name: float(value.detach()) for name, value in terms.items()}

    def train(self) -> None:
        log = (self.run / "log.jsonl").open("a")
        sums: dict[str, list[float]] = {}
        while self.step < STEPS:
            for name, value in self.advance().items():
                sums.setdefault(name, []).append(value)
            if self.step % 50 == 0:
                row: dict[str, float] = {
                    "step": self.step,
                    "crops": self.step * BATCH,
                    "seconds": round(self.seconds),
                }
                row |= {name: round(sum(v) / len(v), 5) for name, v in sums.items()}
                print(json.dumps(row), flush=True)
                log.write(json.dumps(row) + "\n")
                log.flush()
                sums = {}
            if self.step % 250 == 0 or self.step == STEPS:
                self.save()

    def export(self, folder: Path) -> None:
        """The running average as a float16 ``UNet2DModel`` folder, with its schedule."""
        shipped = Denoising()
        shipped.load_state_dict(self.average)
        network: Any = shipped.network.half()
        network.save_pretrained(folder)
        shipped.scheduler.save_pretrained(folder)
        (folder / "diffusion_pytorch_model.safetensors").chmod(0o644)

    def validate(self) -> None:
        """Print PSNR and LPIPS of what TAESD makes of held-out photographs' latents, its own."""
        denoising = Denoising()
        denoising.load_state_dict(self.average)
        rows: dict[str, list[tuple[float, float]]] = {}
        for row in range(PHOTOGRAPHS, PHOTOGRAPHS + VALIDATED):
            pixels = np.array(self.data.pixels[self.data.photographs[row]])[None]
            source = to_float(torch.from_numpy(pixels))
            clean = torch.from_numpy(self.data.clean[row, 0])[None].float()
            cases = {"clean": (clean, torch.zeros(1, HINTS, *clean.shape[2:]), 0.0)}
            for step in (0.5, 0.75, 1.0):
                rounded = self.data.rounded(clean, torch.tensor([step]))
                cases[f"step {step}"] = (*rounded, step / 12**0.5)
            for dither, name in enumerate(("palette-undithered", "palette")):
                coded = torch.from_numpy(self.data.coded[row, 0, dither])[None].float()
                noise = float(self.data.noise[row, 0, dither])
                cases[name] = coded, cases["clean"][1], noise
            with torch.inference_mode():
                for case, (given, hints, noise) in cases.items():
                    batch = Batch(given, hints, torch.tensor([noise]), clean)
                    versions = {"as it is": given}
                    if case.startswith("step"):
                        versions["centred"] = batch.centred
                    if noise:
                        versions["denoised"] = denoising(batch)[1]
                    for name, latents in versions.items():
                        decoded = self.teacher.decode(latents).clamp(-1, 1)
                        measured = (
                            float(-10 * torch.log10(((decoded - source) / 2).square().mean())),
                            float(self.perceptual(decoded, source)),
                        )
                        rows.setdefault(f"{case}, {name}", []).append(measured)
        for name, values in rows.items():
            psnr, lpips = (sum(column) / len(values) for column in zip(*values, strict=True))
            print(f"{name:32} {psnr:.2f} dB  LPIPS {lpips:.4f}", flush=True)
