"""TAESD, the teacher, in plain torch: training never imports diffusers.

Reads the weights of a diffusers ``AutoencoderTiny`` folder
(https://github.com/madebyollin/taesd). Pictures are ``float (N, 3, H, W)`` in [-1, 1], latents
``float (N, 4, H/8, W/8)`` in Stable Diffusion 1.x's scaled space.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

CHANNELS = 64


class Block(nn.Module):
    """Three 3×3 convolutions around an identity, ReLU after the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + x)


def _half() -> nn.Module:
    return nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1, bias=False)


def _double() -> list[nn.Module]:
    return [nn.Upsample(scale_factor=2), nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)]


class Taesd(nn.Module):
    """Frozen encoder and decoder; gradients still flow to their inputs."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, CHANNELS, 3, padding=1),
            Block(),
            *(layer for _ in range(3) for layer in (_half(), Block(), Block(), Block())),
            nn.Conv2d(CHANNELS, 4, 3, padding=1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(4, CHANNELS, 3, padding=1),
            nn.ReLU(),
            *(layer for _ in range(3) for layer in (Block(), Block(), Block(), *_double())),
            Block(),
            nn.Conv2d(CHANNELS, 3, 3, padding=1),
        )
        weights = load_file(folder / "diffusion_pytorch_model.safetensors")
        self.load_state_dict(
            {key.replace(".layers.", "."): value.float() for key, value in weights.items()}
        )
        self.requires_grad_(False).eval()

    def encode(self, pixels: Tensor) -> Tensor:
        latents: Tensor = self.encoder(pixels * 0.5 + 0.5)
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        pixels: Tensor = self.decoder(torch.tanh(latents / 3) * 3)
        return pixels * 2 - 1
