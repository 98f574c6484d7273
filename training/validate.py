"""Encoder and decoder on the held-out photographs: ``python -m training validate CONFIG``."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from django_latentimg.codec.lite import HINTS, LiteDecoder, LiteEncoder
from django_latentimg.codec.rate import Expecter

from .data import Crops
from .perceptual import Perceptual
from .taesd import Taesd


def validate(run: Path, corpus: Path, teacher: Path, lpips: Path) -> None:
    """Print PSNR and LPIPS of every pair of encoder and decoder, and through quantisation."""
    networks = nn.ModuleDict({"encoder": LiteEncoder(), "decoder": LiteDecoder()})
    weights = load_file(run / "weights.safetensors")
    networks.load_state_dict({name: value.float() for name, value in weights.items()})
    encoder, decoder = networks.values()
    taesd, perceptual, expecter = Taesd(teacher), Perceptual(lpips), Expecter(torch.device("cpu"))
    pixels, reference = Crops(corpus, side=128, batch=8, seed=0).held_out()
    print(f"{len(pixels)} photographs")

    def lite(latents: Tensor, hints: Tensor | None = None, step: float = 0.0) -> Tensor:
        if hints is None:
            hints = torch.zeros(1, HINTS, *latents.shape[2:])
        pictures: dict[int, Tensor] = decoder(latents, torch.full((1,), step), hints)
        return pictures[1]

    def quantised(latents: Tensor, step: float = 0.5) -> tuple[Tensor, Tensor, float]:
        rounded = torch.round(latents / step) * step
        steps = torch.full((1,), step)
        return rounded, expecter(rounded, steps).hints(rounded, steps), step

    def centred(latents: Tensor) -> Tensor:
        rounded, hints, _ = quantised(latents)
        return rounded + hints[:, :4]

    pairs: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "TAESD > TAESD": lambda x, z: taesd.decode(z),
        "TAESD > lite": lambda x, z: lite(z),
        "lite > lite": lambda x, z: lite(encoder(x)),
        "lite > TAESD": lambda x, z: taesd.decode(encoder(x)),
        "TAESD > 0.5 > TAESD": lambda x, z: taesd.decode(centred(z)),
        "lite > 0.5 > lite": lambda x, z: lite(*quantised(encoder(x))),
        "lite > 1.0 > lite": lambda x, z: lite(*quantised(encoder(x), 1.0)),
        "lite > 0.5 > TAESD": lambda x, z: taesd.decode(centred(encoder(x))),
    }
    with torch.inference_mode():
        for name, pair in pairs.items():
            rows = []
            for index in range(len(pixels)):
                x, z = pixels[index : index + 1], reference[index : index + 1]
                decoded = pair(x, z).clamp(-1, 1)
                psnr = -10 * torch.log10(((decoded - x) / 2).square().mean())
                rows.append((float(psnr), float(perceptual(decoded, x))))
            means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
            print(f"{name:22} {means[0]:.2f} dB  LPIPS {means[1]:.4f}", flush=True)
