"""The bundled networks: a small encoder and decoder for Stable Diffusion 1.x's latent space.

Convolutions only: no normalisation and no attention across the picture, so a tile with a margin
of the receptive field decodes to what the whole picture would. Most of the arithmetic happens at
1/8 resolution; pixel (un)shuffle carries it up and down. The decoder has an RGB head at every
scale, so that a small rendition costs a small decode.

No diffusers here: it takes seconds to import, and training runs where it is absent.
"""

import json
from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor, nn

WIDTHS = (128, 64, 32)
"""Channels at 1/8, 1/4 and 1/2 of the picture's resolution."""

ENCODER_DEPTHS = (8, 2, 1)
"""Residual blocks at 1/8, 1/4 and 1/2. A picture is encoded once, so this may take longer."""

DECODER_DEPTHS = (4, 2, 1)
"""The same; every rendition waits for these."""

SCALES = (8, 4, 2, 1)
"""Denominators of the decoder's output resolutions."""

HINTS = 8
"""Planes of what the prior tells the decoder."""


def conv(channels_in: int, channels_out: int) -> nn.Conv2d:
    """3×3, same size."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=1)


def double(channels: int, channels_out: int = 3) -> nn.Sequential:
    """To twice the size in each direction."""
    return nn.Sequential(conv(channels, channels_out * 4), nn.PixelShuffle(2))


class Residual(nn.Module):
    """``x + conv(relu(conv(x)))``; before training it changes nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(channels, channels)
        self.second = conv(channels, channels)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

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
        self, widths: tuple[int, int, int] = WIDTHS, depths: tuple[int, int, int] = ENCODER_DEPTHS
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

    def features(self, pixels: Tensor) -> list[Tensor]:
        """What the residual blocks make of the same input at 1/2, 1/4 and 1/8 of its size."""
        found, x = [], pixels
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.Sequential):
                found.append(x)
        return found


class LiteDecoder(nn.Module):
    """Latents to pictures.

    ``forward(latents, step, hints, scales)``: float (N, 4, h, w) scaled SD 1.x latents; the
    quantiser's step, float (N,) in the same units; float (N, 8, h, w), where the prior expected
    each latent within its cell, in the same units, and the logarithm to base 2 of the spread it
    expected, in symbols -> ``{scale: float (N, 3, 8h/scale, 8w/scale)}`` in [-1, 1] for each of
    ``scales``, out of 8, 4, 2 and 1. The network learns from ``step`` and ``hints`` how much of the
    latents is rounding noise; both are 0 for latents that were never quantised.

    What serves the heads of 1/8 and 1/4 leaves after the first block, so a small rendition costs a
    small part of the whole.
    """

    def __init__(
        self, widths: tuple[int, int, int] = WIDTHS, depths: tuple[int, int, int] = DECODER_DEPTHS
    ) -> None:
        super().__init__()
        eighth, quarter, half = widths
        self.enter = conv(4 + 1 + HINTS, eighth)
        self.trunks = nn.ModuleList(
            residuals(channels, depth) for channels, depth in zip(widths, depths, strict=True)
        )
        self.rises = nn.ModuleList(
            double(below, above) for below, above in ((eighth, quarter), (quarter, half))
        )
        self.small_trunk = nn.Sequential(conv(eighth, quarter), nn.ReLU(), Residual(quarter))
        self.eighth_head = conv(quarter, 3)
        self.quarter_head = double(quarter)
        self.half_head = double(quarter)
        self.full_head = double(half)

    def forward(
        self, latents: Tensor, step: Tensor, hints: Tensor, scales: Collection[int] = (1,)
    ) -> dict[int, Tensor]:
        plane = step.to(latents).view(-1, 1, 1, 1).expand(-1, 1, *latents.shape[2:])
        pictures: dict[int, Tensor] = {}
        first_block, *blocks = self.trunks[0].children()
        x = first_block(self.enter(torch.cat([latents, plane, hints], 1)))
        if max(scales) > 2:
            small = self.small_trunk(x)
            if 8 in scales:
                pictures[8] = self.eighth_head(small)
            if 4 in scales:
                pictures[4] = self.quarter_head(small)
        if min(scales) < 4:
            for block in blocks:
                x = block(x)
            x = self.trunks[1](self.rises[0](x))
        if 2 in scales:
            pictures[2] = self.half_head(x)
        if 1 in scales:
            pictures[1] = self.full_head(self.trunks[2](self.rises[1](x)))
        return pictures


def load_networks(folder: Path) -> nn.ModuleDict:
    """``encoder`` and ``decoder`` from a folder that ``AutoencoderLite.save_pretrained`` wrote."""
    from safetensors.torch import load_file

    configuration = json.loads((folder / "config.json").read_text())
    widths = tuple(configuration["widths"])
    networks = nn.ModuleDict(
        {
            "encoder": LiteEncoder(widths, tuple(configuration["encoder_depths"])),
            "decoder": LiteDecoder(widths, tuple(configuration["decoder_depths"])),
        }
    )
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    networks.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return networks
