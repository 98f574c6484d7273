"""The prior in floats, differentiable: what symbols will cost and where they were expected.

For training and refinement; the coder itself uses integers (``prior.py``). Needs torch.
"""

from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from . import prior
from .quantize import centroid

OCTAVES_PER_STEP_INPUT = 32 / 25
"""Fineness falls by 25 for an octave of the step, and 32 of it are one unit of the input."""


class Expectation(NamedTuple):
    """Logistic distributions of all symbols; float (N, 4, h, w) each."""

    mean: Tensor
    """Scaled latents."""
    spread: Tensor
    """Symbols."""

    def bits(self, latents: Tensor, steps: Tensor) -> Tensor:
        """Of dequantised ``latents`` (N, 4, h, w) at ``steps`` (N,): float (N, 4, h, w)."""
        distance = (latents - self.mean) / steps.view(-1, 1, 1, 1)
        upper = torch.sigmoid((distance + 0.5) / self.spread)
        lower = torch.sigmoid((distance - 0.5) / self.spread)
        return -torch.log2((upper - lower).clamp_min(2.0**-prior.ESCAPE_BITS))

    def hints(self, latents: Tensor, steps: Tensor) -> Tensor:
        """What the lite decoder is told of dequantised ``latents``: float (N, 8, h, w)."""
        each = steps.view(-1, 1, 1, 1)
        offset = (self.mean - latents) / each
        return torch.cat([centroid(offset, self.spread, torch.exp) * each, self.spread.log2()], 1)


def neighbours(latents: Tensor) -> Tensor:
    """(N, 4, h, w) -> (48, N h w), in the order of ``prior.NEIGHBOURS``; zeros outside."""
    _, channels, height, width = latents.shape
    margin = prior.MARGIN
    padded = F.pad(latents, (margin,) * 4)
    views = [
        padded[:, channel, margin + dy : margin + dy + height, margin + dx : margin + dx + width]
        for channel in range(channels)
        for dy, dx in prior.NEIGHBOURS
    ]
    return torch.stack([view.reshape(-1) for view in views])


class Expecter:
    """The network of a latent space's prior with float weights, on one device."""

    def __init__(self, space: str, device: torch.device) -> None:
        data, weight = prior.load_weights(space), 2.0**prior.WEIGHT_BITS

        def floats(name: str, unit: float) -> Tensor:
            return torch.from_numpy(data[name] / unit).float().to(device)

        self.context, self.known, self.hidden, self.output, self.step = (
            floats(name, weight) for name in ("context", "known", "hidden", "output", "step")
        )
        self.bias, self.hidden_bias = (
            floats(name, weight * prior.UNIT) for name in ("bias", "hidden_bias")
        )

    def __call__(self, latents: Tensor, steps: Tensor) -> Expectation:
        """Dequantised latents (N, 4, h, w) and the quantiser's steps (N,), all above 0.

        What is outside counts as zero.
        """
        count, channels, height, width = latents.shape
        here = latents.transpose(0, 1).reshape(channels, -1)
        step = torch.log2(steps / 0.5) / OCTAVES_PER_STEP_INPUT
        layer = self.context @ neighbours(latents) + self.bias[:, None]
        layer = layer + self.step[:, None] * step.repeat_interleave(height * width)
        layer = layer.view(channels, -1, here.shape[1]) + self.known @ here[:-1]
        hidden = torch.relu(layer[:, :-2])
        hidden = torch.relu(torch.bmm(self.hidden, hidden) + self.hidden_bias[:, :, None])
        outputs = torch.bmm(self.output, hidden) + layer[:, -2:]
        mean, octave = (
            outputs[:, row].view(channels, count, height, width).transpose(0, 1) for row in (0, 1)
        )
        limits = prior.SMALLEST_OCTAVE, prior.LARGEST_OCTAVE
        return Expectation(mean, torch.exp2(octave.clamp(*limits)))


@cache
def load_expecter(space: str, device: torch.device) -> Expecter:
    """Kept for the life of the process."""
    return Expecter(space, device)
