"""Priors and bundled decoders for browsers: ``python -m training browser``.

``prior-SPACE.bin`` holds the arrays of the file ``.npz`` in C order, all little-endian:

- int32: H, the hidden units of each channel, and then ``context``, ``bias``, ``step``, ``known``,
  ``hidden``, ``hidden_bias``, ``output``, ``gain``, ``inverse`` (shapes: ``docs/format.md``);
- uint16: of each table the 65 frequencies, which are the differences of ``cumulative`` and compress
  better.

``decoder-SPACE.bin`` holds the decoder's convolutions in the order in which ``LiteDecoder`` names
them. What a pixel shuffle follows has its outputs in the order (row, column, channel), so that
those of one pixel stand together; a fourth channel after red, green and blue is always 1: alpha.
The first convolution has 32 inputs: the 13 planes, three of zeros, and the same 16 again, divided
by 128, whose weights are what rounding took from the first. Rounding there, where some planes are
even everywhere, would cost more than in all the others together. Of each convolution,
little-endian:

- float32 ``scale`` (outputs,) and ``bias`` (outputs,);
- int8 (outputs / 4, inputs, 9, 4), the last being four neighbouring outputs: the weights over
  ``scale`` of their output.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from django_latentimg.codec import prior
from django_latentimg.codec.lite import load_networks
from django_latentimg.codec.models import BUNDLED, WEIGHTS

Floats = NDArray[np.float32]

PRIOR = ("context", "bias", "step", "known", "hidden", "hidden_bias", "output", "gain", "inverse")
LARGEST = 127
"""What the largest weight of an output channel is rounded to."""
FINER = 128
"""So much finer the second weights of the first convolution are."""


def export_browser(folder: Path) -> None:
    """Writes both files of each latent space into ``folder``."""
    for model, space in BUNDLED.items():
        (folder / f"prior-{space}.bin").write_bytes(pack_prior(space))
        (folder / f"decoder-{space}.bin").write_bytes(pack_decoder(model))


def pack_prior(space: str) -> bytes:
    data = prior.load_weights(space)
    hidden = data["hidden"].shape[-1]
    parts = [np.array([hidden]), *(data[name] for name in PRIOR)]
    frequencies = np.diff(data["cumulative"], axis=1)
    return b"".join([part.astype("<i4").tobytes() for part in parts]) + (
        frequencies.astype("<u2").tobytes()
    )


def pack_decoder(model: str) -> bytes:
    decoder = load_networks(WEIGHTS / model)["decoder"]
    shuffled = {
        part[0]
        for part in decoder.modules()
        if isinstance(part, nn.Sequential) and isinstance(part[-1], nn.PixelShuffle)
    }
    packed = []
    for module in decoder.modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is not None
            weight, bias = module.weight.detach().numpy(), module.bias.detach().numpy()
            if module is decoder.enter:
                weight = twice(weight)
            packed.append(pack_convolution(weight, bias, pixels=4 if module in shuffled else 1))
    return b"".join(packed)


def twice(weight: Floats) -> Floats:
    """(outputs, inputs, 3, 3) for all inputs and, after zeros up to 16, what rounding loses of
    them, times ``FINER``."""
    levels, scale = round_weights(weight)
    lost = weight - levels * scale[:, None, None, None]
    padding = np.zeros((len(weight), -weight.shape[1] % 16, 3, 3), np.float32)
    return np.concatenate([weight, padding, FINER * lost, padding], axis=1)


def pack_convolution(weight: Floats, bias: Floats, *, pixels: int) -> bytes:
    """``pixels``: that an output is shuffled to."""
    levels, scale = round_weights(weight)
    if pixels > 1:
        levels, scale, bias = (
            np.concatenate([values[pixel::pixels] for pixel in range(pixels)])
            for values in (levels, scale, bias)
        )
    if len(bias) == 3 * pixels:
        places = 3 * np.arange(1, pixels + 1)
        levels, scale = (np.insert(values, places, 0, axis=0) for values in (levels, scale))
        bias = np.insert(bias, places, 1)
    outputs, inputs = levels.shape[:2]
    blocks = levels.reshape(outputs // 4, 4, inputs, 9).transpose(0, 2, 3, 1)
    return (
        scale.astype("<f4").tobytes()
        + bias.astype("<f4").tobytes()
        + blocks.astype(np.int8).tobytes()
    )


def round_weights(weight: Floats) -> tuple[Floats, Floats]:
    """(outputs, inputs, 3, 3) as whole numbers, of the same shape, and scales (outputs,)."""
    scale = np.abs(weight).max((1, 2, 3)) / np.float32(LARGEST)
    return np.rint(weight / scale[:, None, None, None]), scale
