"""LPIPS v0.1 with the SqueezeNet trunk (Zhang et al., CVPR 2018), for training.

Reads ``backbone.safetensors``: torchvision's ``squeezenet1_1`` features and the LPIPS heads.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
STRIDE = 16
"""Pixels after which the trunk's grid repeats: four strides of 2."""
SHIFTS = ((0, 0), (5, 3), (10, 9), (15, 14))
"""Rows and columns by which a picture is cut where it is measured: of every parity one."""
STAGES: tuple[tuple[int, ...], ...] = ((3, 4), (6, 7), (9,), (10,), (11,), (12,))
"""Fire modules that end in each tap after the first; the first three stages begin by pooling."""


class Perceptual(nn.Module):
    """``forward(a, b)``: float (N, 3, H, W) in [-1, 1] each -> (N,) distances, 0 for equal."""

    shift: Tensor
    scale: Tensor

    def __init__(self, folder: Path) -> None:
        super().__init__()
        weights = load_file(folder / "backbone.safetensors")
        self.names = {key: f"w{index}" for index, key in enumerate(weights)}
        for key, value in weights.items():
            self.register_buffer(self.names[key], value.float())
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))

    def weight(self, key: str) -> Tensor:
        value: Tensor = getattr(self, self.names[key])
        return value

    def convolve(self, x: Tensor, name: str, *, stride: int = 1, padding: int = 0) -> Tensor:
        return F.relu(
            F.conv2d(
                x,
                self.weight(f"{name}.weight"),
                self.weight(f"{name}.bias"),
                stride=stride,
                padding=padding,
            )
        )

    def fire(self, x: Tensor, index: int) -> Tensor:
        name = f"features.{index}"
        squeezed = self.convolve(x, f"{name}.squeeze")
        return torch.cat(
            [
                self.convolve(squeezed, f"{name}.expand1x1"),
                self.convolve(squeezed, f"{name}.expand3x3", padding=1),
            ],
            1,
        )

    def features(self, x: Tensor) -> list[Tensor]:
        x = self.convolve((x - self.shift) / self.scale, "features.0", stride=2)
        taps = [x]
        for stage, indices in enumerate(STAGES):
            if stage < 3:
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            for index in indices:
                x = self.fire(x, index)
            taps.append(x)
        return [tap / (tap.square().sum(1, keepdim=True).sqrt() + 1e-10) for tap in taps]

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        # Differences of normalised features are too small for bfloat16.
        with torch.autocast(a.device.type, enabled=False):
            with torch.no_grad():
                wanted = self.features(b.float())
            got = self.features(a.float())
            total = torch.zeros(len(a), device=a.device)
            for index, (p, q) in enumerate(zip(got, wanted, strict=True)):
                head = self.weight(f"heads.lin{index}").view(1, -1, 1, 1)
                total = total + ((p - q).square() * head).sum(1).mean((1, 2))
        return total

    def everywhere(self, a: Tensor, b: Tensor) -> Tensor:
        """The mean distance over ``SHIFTS``: a measure that one place of the grid cannot flatter.

        float (N, 3, H, W) in [-1, 1] each, sides of 33 or more -> (N,).
        """
        height, width = (side - STRIDE for side in a.shape[2:])
        distances: list[Tensor] = [
            self(*(each[..., top : top + height, left : left + width] for each in (a, b)))
            for top, left in SHIFTS
        ]
        return torch.stack(distances).mean(0)

    def anywhere(self, a: Tensor, b: Tensor, random: torch.Generator) -> Tensor:
        """The distance at one random shift a picture: for a loss. Arguments as of ``everywhere``.

        Always laid on the same pixels, the trunk's grid is content with a pattern that repeats with
        it and that a grid laid elsewhere, or an eye, sees as grain. Kettunen et al., "E-LPIPS",
        2019, average over shifts for the like reason.
        """
        height, width = (side - STRIDE for side in a.shape[2:])
        tops, lefts = torch.randint(STRIDE, (2, len(a)), generator=random).tolist()

        def cut(pictures: Tensor) -> Tensor:
            parts = [
                picture[:, top : top + height, left : left + width]
                for picture, top, left in zip(pictures, tops, lefts, strict=True)
            ]
            return torch.stack(parts).contiguous(memory_format=torch.channels_last)

        distances: Tensor = self(cut(a), cut(b))
        return distances
