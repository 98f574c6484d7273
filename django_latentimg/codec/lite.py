"""The bundled networks: a small encoder and decoder for Stable Diffusion 1.x's latent space.

Convolutions only: no normalisation and no attention across the picture, so a tile with a margin
of the receptive field decodes to what the whole picture would. Most of the arithmetic happens at
1/8 resolution; pixel (un)shuffle carries it up and down. The decoder has an RGB head at every
scale, so that a small rendition costs a small decode.

No diffusers here: it takes seconds to import, and training runs where it is absent.
"""

import json
from pathlib import Path

import torch
from torch import Tensor, nn

WIDTHS = (128, 64, 32)
"""Channels at 1/8, 1/4 and 1/2 of the picture's resolution."""

DEPTHS = (4, 2, 1)
"""Residual blocks at 1/8, 1/4 and 1/2."""

SCALES = (8, 4, 2, 1)
"""Denominators of the decoder's output resolutions."""

MARGIN = 16
"""Latent pixels around a tile that can influence its decoded centre (receptive field's radius).

Decoder: conv_in 1, two for each block at 1/8 (8), its up-convolution 1; half of that at 1/4
(4 + 1), a quarter at 1/2 (2 + 1): 10 + 2.5 + 0.75, rounded up. The encoder mirrors it.
"""


def conv(channels_in: int, channels_out: int) -> nn.Conv2d:
    """3×3, same size."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=1)


class Residual(nn.Module):
    """``x + conv(relu(conv(x)))``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(channels, channels)
        self.second = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.second(torch.relu(self.first(x)))
        return result


def residuals(channels: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(Residual(channels) for _ in range(depth)))


class LiteEncoder(nn.Module):
    """Picture to latents.

    ``forward(pixels)``: float (N, 3, H, W) in [-1, 1], H and W multiples of 8 ->
    float (N, 4, H/8, W/8), scaled SD 1.x latents.
    """

    def __init__(
        self, widths: tuple[int, int, int] = WIDTHS, depths: tuple[int, int, int] = DEPTHS
    ) -> None:
        super().__init__()
        eighth, quarter, half = widths
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),
            conv(12, half),
            residuals(half, depths[2]),
            nn.PixelUnshuffle(2),
            conv(half * 4, quarter),
            residuals(quarter, depths[1]),
            nn.PixelUnshuffle(2),
            conv(quarter * 4, eighth),
            residuals(eighth, depths[0]),
            conv(eighth, 4),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        latents: Tensor = self.layers(pixels)
        return latents


class LiteDecoder(nn.Module):
    """Latents to pictures of every scale.

    ``forward(latents, step, scale)``: float (N, 4, h, w) scaled SD 1.x latents and the quantiser's
    step, float (N,) in the same units, 0 for latents that were never quantised ->
    ``{denominator: float (N, 3, 8h/denominator, 8w/denominator)}`` in [-1, 1] for every scale in
    8, 4, 2, 1 down to ``scale``. The network learns from ``step`` how much of the latents is
    rounding noise.
    """

    def __init__(
        self, widths: tuple[int, int, int] = WIDTHS, depths: tuple[int, int, int] = DEPTHS
    ) -> None:
        super().__init__()
        eighth, quarter, half = widths
        self.enter = conv(5, eighth)
        self.trunks = nn.ModuleList(
            residuals(channels, depth) for channels, depth in zip(widths, depths, strict=True)
        )
        self.rises = nn.ModuleList(
            nn.Sequential(conv(below, above * 4), nn.PixelShuffle(2))
            for below, above in ((eighth, quarter), (quarter, half))
        )
        self.heads = nn.ModuleList(conv(channels, 3) for channels in widths)
        self.full_head = nn.Sequential(conv(half, 12), nn.PixelShuffle(2))

    def forward(self, latents: Tensor, step: Tensor, scale: int = 1) -> dict[int, Tensor]:
        plane = step.to(latents).view(-1, 1, 1, 1).expand(-1, 1, *latents.shape[2:])
        x = self.enter(torch.cat([latents, plane], 1))
        pictures: dict[int, Tensor] = {}
        for level, denominator in enumerate(SCALES[:3]):
            x = self.trunks[level](x)
            pictures[denominator] = self.heads[level](x)
            if denominator == scale:
                return pictures
            if level < 2:
                x = self.rises[level](x)
        pictures[1] = self.full_head(x)
        return pictures


def load_networks(folder: Path) -> nn.ModuleDict:
    """``encoder`` and ``decoder`` from a folder that ``AutoencoderLite.save_pretrained`` wrote."""
    from safetensors.torch import load_file

    configuration = json.loads((folder / "config.json").read_text())
    sizes = tuple(configuration["widths"]), tuple(configuration["depths"])
    networks = nn.ModuleDict({"encoder": LiteEncoder(*sizes), "decoder": LiteDecoder(*sizes)})
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    networks.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return networks
