"""Encoder and decoder on the held-out photographs: ``python -m training validate CONFIG``."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from django_latentimg.codec.lite import HINTS, LiteDecoder, LiteEncoder
from django_latentimg.codec.models import LiteModel, space_of
from django_latentimg.codec.rate import Expecter
from django_latentimg.codec.refine import refine

from .data import Crops
from .device import CPU
from .perceptual import Perceptual
from .taesd import Taesd
from .train import EFFORT

FINENESS = 50


def validate(run: Path, corpus: Path, teacher: Path, lpips: Path, name: str = "lite") -> None:
    """Print PSNR and LPIPS of every pair of encoder and decoder, and through quantisation.

    ``name``: the bundled model whose latent space it is; TAESD is beside ``lite`` alone.
    """
    networks = nn.ModuleDict({"encoder": LiteEncoder(), "decoder": LiteDecoder()})
    weights = load_file(run / "weights.safetensors")
    networks.load_state_dict({name: value.float() for name, value in weights.items()})
    encoder, decoder = networks.values()
    model = LiteModel(networks, space_of(name))
    taesd, perceptual = Taesd(teacher), Perceptual(lpips)
    expecter = Expecter(model.space, CPU)
    pixels, reference = Crops(corpus, side=128, batch=8, seed=0).held_out()
    print(f"{len(pixels)} photographs")

    def own(latents: Tensor, hints: Tensor | None = None, step: float = 0.0) -> Tensor:
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

    def refined(picture: Tensor) -> Tensor:
        rgb = ((picture[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        latents = encoder(picture)[0].numpy()
        with torch.enable_grad():
            latents = refine(model, rgb, latents, fineness=FINENESS, effort=EFFORT)
        return torch.from_numpy(latents)[None]

    pairs: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        f"{name} > {name}": lambda x, z: own(encoder(x)),
        f"{name} > 0.5 > {name}": lambda x, z: own(*quantised(encoder(x))),
        f"{name} > 1.0 > {name}": lambda x, z: own(*quantised(encoder(x), 1.0)),
        f"{name} > refined, 0.5 > {name}": lambda x, z: own(*quantised(refined(x))),
    }
    if name == "lite":
        pairs |= {
            "TAESD > TAESD": lambda x, z: taesd.decode(z),
            "TAESD > lite": lambda x, z: own(z),
            "lite > TAESD": lambda x, z: taesd.decode(encoder(x)),
            "TAESD > 0.5 > TAESD": lambda x, z: taesd.decode(centred(z)),
            "lite > 0.5 > TAESD": lambda x, z: taesd.decode(centred(encoder(x))),
        }
    for pair_name, pair in pairs.items():
        rows = []
        for index in range(len(pixels)):
            x, z = pixels[index : index + 1], reference[index : index + 1]
            with torch.no_grad():
                decoded = pair(x, z).clamp(-1, 1)
                psnr = -10 * torch.log10(((decoded - x) / 2).square().mean())
                distance = perceptual.everywhere(decoded, x)
                rows.append((float(psnr), float(distance)))
        means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        print(f"{pair_name:30} {means[0]:.2f} dB  LPIPS {means[1]:.4f}", flush=True)
