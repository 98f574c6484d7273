"""What the architecture search compares: decoders, encoders, priors.

All decoders have the interface of ``LiteDecoder`` for scale 1. Their sizes were chosen so that each
decodes a picture of 512×512 pixels in the time of the shipped one.
"""

from collections.abc import Callable, Collection
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from django_latentimg.codec.lite import (
    DECODER_DEPTHS,
    ENCODER_DEPTHS,
    HINTS,
    WIDTHS,
    LiteEncoder,
    Residual,
    conv,
    double,
)

Sizes = tuple[int, int, int]
"""At 1/8, 1/4 and 1/2 of the picture's resolution."""

TOLD = 1 + HINTS
"""Planes beside the latents: the quantiser's step and the prior's hints."""


class Dilated(Residual):
    """As the shipped block, its second convolution reaching twice as far."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.second.padding = self.second.dilation = (2, 2)


class LargeKernel(nn.Module):
    """``x + narrow(relu(widen(reach(x))))``: 7×7 for each channel, then 1×1 twice.

    Liu et al., "A ConvNet for the 2020s", CVPR 2022, with twice the channels in the middle and
    without normalisation.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reach = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.widen = nn.Conv2d(channels, 2 * channels, 1)
        self.narrow = zeroed(nn.Conv2d(2 * channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.narrow(torch.relu(self.widen(self.reach(x))))
        return result


def gate(x: Tensor) -> Tensor:
    """Half of the channels times the other half."""
    first, second = x.chunk(2, 1)
    return first * second


class Gated(nn.Module):
    """Chen et al., "Simple baselines for image restoration", ECCV 2022 (NAFNet).

    Without its normalisation and without its channel attention, which would span the picture.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        double_width = 2 * channels
        self.widen = nn.Conv2d(channels, double_width, 1)
        self.reach = nn.Conv2d(double_width, double_width, 3, padding=1, groups=double_width)
        self.narrow = zeroed(nn.Conv2d(channels, channels, 1))
        self.widen_again = nn.Conv2d(channels, double_width, 1)
        self.narrow_again = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.narrow(gate(self.reach(self.widen(x))))
        result: Tensor = x + self.narrow_again(gate(self.widen_again(x)))
        return result


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class Branches(nn.Module):
    """3×3, 1×1 and the identity, added: one 3×3 convolution that trains as three.

    Ding et al., "RepVGG", CVPR 2021; a factor for each channel in place of normalisation.
    """

    def __init__(self, channels: int, identity: float) -> None:
        super().__init__()
        self.wide = conv(channels, channels)
        self.point = nn.Conv2d(channels, channels, 1, bias=False)
        self.identity = nn.Parameter(torch.full((channels,), identity))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.wide(x) + self.point(x) + x * self.identity.to(x).view(-1, 1, 1)
        return result

    def merge_into(self, merged: nn.Conv2d) -> None:
        with torch.no_grad():
            weight = self.wide.weight.clone()
            weight[:, :, 1, 1] += self.point.weight[:, :, 0, 0] + torch.diag(self.identity)
            merged.weight.copy_(weight)
            merged.bias.copy_(self.wide.bias)  # type: ignore[union-attr, arg-type]


class Reparameterised(nn.Module):
    """The shipped block with ``Branches``; before training it changes nothing either."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Branches(channels, 1.0)
        self.second = Branches(channels, 0.0)
        zeroed(self.second.wide)
        nn.init.zeros_(self.second.point.weight)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.second(torch.relu(self.first(x)))
        return result

    def merged(self) -> Residual:
        """Same result, two convolutions."""
        block = Residual(self.first.wide.in_channels)
        self.first.merge_into(block.first)
        self.second.merge_into(block.second)
        return block


class Decoder(nn.Module):
    """``LiteDecoder`` for scale 1, of any blocks; shapes and units are documented there."""

    inputs = 4 + TOLD

    def __init__(self, widths: Sizes, depths: Sizes, block: Callable[[int], nn.Module]) -> None:
        super().__init__()
        eighth, quarter, half = widths
        self.enter = conv(self.inputs, eighth)
        self.trunks = nn.ModuleList(
            nn.Sequential(*(block(channels) for _ in range(depth)))
            for channels, depth in zip(widths, depths, strict=True)
        )
        self.rises = nn.ModuleList([double(eighth, quarter), double(quarter, half)])
        self.full_head = double(half)

    def forward(
        self, latents: Tensor, step: Tensor, hints: Tensor, scales: Collection[int] = (1,)
    ) -> dict[int, Tensor]:
        assert tuple(scales) == (1,)
        plane = step.to(latents).view(-1, 1, 1, 1).expand(-1, 1, *latents.shape[2:])
        x = self.at_eighth(latents, torch.cat([plane, hints], 1))
        for rise, trunk in zip(self.rises, list(self.trunks)[1:], strict=True):
            x = trunk(rise(x))
        return {1: self.full_head(x)}

    def at_eighth(self, latents: Tensor, told: Tensor) -> Tensor:
        """``told``: float (N, 9, h, w), the step and the hints."""
        result: Tensor = self.trunks[0](self.enter(torch.cat([latents, told], 1)))
        return result


class UntoldDecoder(Decoder):
    """Knows neither step nor hints."""

    inputs = 4

    def at_eighth(self, latents: Tensor, told: Tensor) -> Tensor:
        result: Tensor = self.trunks[0](self.enter(latents))
        return result


class ModulatedDecoder(Decoder):
    """Step and hints scale and shift what enters each block at 1/8, place by place.

    Perez et al., "FiLM", AAAI 2018.
    """

    inputs = 4
    hidden = 32

    def __init__(self, widths: Sizes, depths: Sizes, block: Callable[[int], nn.Module]) -> None:
        super().__init__(widths, depths, block)
        self.listen = nn.Conv2d(TOLD, self.hidden, 1)
        self.scales, self.shifts = (
            nn.ModuleList(zeroed(nn.Conv2d(self.hidden, widths[0], 1)) for _ in range(depths[0]))
            for _ in range(2)
        )

    def at_eighth(self, latents: Tensor, told: Tensor) -> Tensor:
        x: Tensor = self.enter(latents)
        heard = torch.relu(self.listen(told))
        for block, scale, shift in zip(self.trunks[0], self.scales, self.shifts, strict=True):  # type: ignore[call-overload]
            x = block(torch.addcmul(x + shift(heard), x, scale(heard)))
        return x


def merged(network: nn.Module) -> nn.Module:
    """A copy as it is shipped: every ``Reparameterised`` block is an ordinary one."""
    copy = deepcopy(network)
    for parent in list(copy.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Reparameterised):
                setattr(parent, name, child.merged())
    return copy


@dataclass(frozen=True)
class Candidate:
    """One row of a table."""

    description: str
    sizes: str
    """Channels, and blocks, at 1/8, 1/4 and 1/2."""
    build: Callable[[], nn.Module]
    seed: int = 1
    """Of the random weights it begins with."""
    times: float = 1.0
    """How many times the seconds of the others it trains."""


def decoder(
    description: str,
    widths: Sizes = WIDTHS,
    depths: Sizes = DECODER_DEPTHS,
    block: Callable[[int], nn.Module] = Residual,
    kind: type[Decoder] = Decoder,
    seed: int = 1,
    times: float = 1.0,
) -> Candidate:
    build = partial(kind, widths, depths, block)
    return Candidate(description, sizes_of(widths, depths), build, seed, times)


def encoder(description: str, widths: Sizes = WIDTHS, depths: Sizes = ENCODER_DEPTHS) -> Candidate:
    return Candidate(description, sizes_of(widths, depths), partial(LiteEncoder, widths, depths))


def sizes_of(widths: Sizes, depths: Sizes) -> str:
    return "; ".join("/".join(map(str, sizes)) for sizes in (widths, depths))


DECODERS = {
    "shipped": decoder("as it is: residual blocks of two 3×3 convolutions"),
    "shipped, other seed": decoder("the same from other random weights: the noise", seed=2),
    "wide above": decoder("fewer blocks at 1/8, wider above", (128, 80, 32), (2, 2, 1)),
    "deep below": decoder("more blocks at 1/8, narrower above", (128, 48, 16), (8, 1, 1)),
    "large kernel": decoder("7×7 depthwise, 1×1 twice", (128, 48, 16), (8, 1, 1), LargeKernel),
    "gated": decoder("NAFNet's blocks with SimpleGate", (128, 64, 16), (5, 1, 1), Gated),
    "dilated": decoder("every second convolution dilated by 2", block=Dilated),
    "re-parameterised": decoder("3×3 + 1×1 + identity, merged", block=Reparameterised),
    "untold": decoder("no step, no hints", kind=UntoldDecoder),
    "modulated": decoder(
        "step and hints as feature modulation", depths=(3, 2, 1), kind=ModulatedDecoder
    ),
}

LONGER = {name: DECODERS[name] for name in ("shipped", "wide above", "deep below")}
"""The winner beside what is shipped and the deepest: whether a short run ranks a long one."""

DOUBLE: Sizes = (256, 128, 64)

LARGER = {
    "shipped": decoder("as it is"),
    "double": decoder("twice the channels", DOUBLE),
    "double, longer": decoder("the same with three times the seconds", DOUBLE, times=3),
}
"""What a profile for sites with a GPU might be; not of equal time."""

ENCODERS = {
    "shipped": encoder("as it is"),
    "shallow": encoder("half the blocks at 1/8, wider", (192, 64, 32), (4, 2, 1)),
}

PRIORS = {"present": 32, "half": 16}
"""Hidden units of each channel, in both layers."""
