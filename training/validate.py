"""Encoder and decoder on the held-out photographs: ``python -m training validate CONFIG``."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from django_latentimg.codec.lite import LiteDecoder, LiteEncoder

from .data import Crops
from .perceptual import Perceptual
from .taesd import Taesd


def validate(checkpoint: Path, corpus: Path, teacher: Path, lpips: Path) -> None:
    """Print PSNR and LPIPS of every pair of encoder and decoder, and through quantisation."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    networks = torch.nn.ModuleList([LiteEncoder(), LiteDecoder()])
    networks.load_state_dict(state["average"])
    encoder, decoder = networks
    taesd, perceptual = Taesd(teacher), Perceptual(lpips)
    pixels, reference = Crops(corpus, side=128, batch=8, seed=0).held_out()
    print(f"step {state['step']}, {len(pixels)} photographs")

    def lite(latents: Tensor, step: float = 0.0) -> Tensor:
        pictures: dict[int, Tensor] = decoder(latents, torch.full((len(latents),), step))
        return pictures[1]

    def rounded(latents: Tensor, step: float = 0.5) -> Tensor:
        return torch.round(latents / step) * step

    pairs: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "TAESD > TAESD": lambda x, z: taesd.decode(z),
        "TAESD > lite": lambda x, z: lite(z),
        "lite > lite": lambda x, z: lite(encoder(x)),
        "lite > TAESD": lambda x, z: taesd.decode(encoder(x)),
        "TAESD > 0.5 > TAESD": lambda x, z: taesd.decode(rounded(z)),
        "lite > 0.5 > lite": lambda x, z: lite(rounded(encoder(x)), 0.5),
        "lite > 0.5 > TAESD": lambda x, z: taesd.decode(rounded(encoder(x))),
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
