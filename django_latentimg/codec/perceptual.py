"""A perceptual distance that needs no download: LPIPS' way, with the bundled encoder's eyes.

LPIPS (Zhang et al., CVPR 2018) compares what the layers of a network see of two pictures, and finds
that a network trained for anything at all serves nearly as well as its own. Here it is the bundled
encoder. How much its channels differ tells LPIPS by a linear fit of the logarithms
(``training/perceive.py``), which may stand in for it where only the two ranks matter.
"""

from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from . import pixels
from .models import LITE_FOLDER, LiteModel, load_model

if TYPE_CHECKING:
    from torch import Tensor

Rgb = NDArray[np.uint8]

WEIGHTS = LITE_FOLDER.parent / "perceptual.npz"
TINY = 1e-7
"""Added to differences, so that their logarithm is finite."""
LEAST = 1e-3
"""The same of LPIPS."""
TILE = 512
TILES = 4
"""Of a large picture only so many tiles are looked at, evenly spread."""


class Reference:
    """A source, uint8 (H, W, 3), to which several pictures are compared."""

    def __init__(self, rgb: Rgb) -> None:
        self.rgb = rgb

    @cached_property
    def _seen(self) -> "list[tuple[tuple[slice, slice], list[Tensor]]]":
        """Windows and their features: at most some 60 MB, for 1024×1024 pixels."""
        return [(at, features(self.rgb[at])) for at in sample(*self.rgb.shape[:2])]

    def distance(self, decoded: Rgb) -> float:
        """About LPIPS (v0.1, SqueezeNet) of a picture of the same shape; 0 for an equal one."""
        return float(
            np.mean([predict(differences(of, features(decoded[at]))) for at, of in self._seen])
        )


def predict(differences: NDArray[np.float32]) -> float:
    """LPIPS of two pictures with these differences, float32 (224,)."""
    if not differences.any():
        return 0.0
    weights, bias = load_weights()
    return max(0.0, float(np.exp(logarithm(differences) @ weights + bias)) - LEAST)


def logarithm(differences: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the fit is linear in."""
    logarithms: NDArray[np.float32] = np.log(differences + np.float32(TINY))
    return logarithms


def features(rgb: Rgb) -> "list[Tensor]":
    """What the encoder's layers see, of length 1 at every place: float (1, C, h, w) each."""
    import torch

    model = load_model("lite")
    assert isinstance(model, LiteModel)
    with torch.inference_mode():
        batch = torch.from_numpy(pixels.pad(rgb).copy()).permute(2, 0, 1)[None]
        layers = model.network.encoder.features(batch.to(model.device).float() / 127.5 - 1)
        return [layer / (layer.square().sum(1, keepdim=True).sqrt() + 1e-6) for layer in layers]


def differences(source: "list[Tensor]", decoded: "list[Tensor]") -> NDArray[np.float32]:
    """Mean squared difference of every channel of every layer: float32 (224,)."""
    import torch

    with torch.inference_mode():
        means = [(a - b).square().mean((0, 2, 3)) for a, b in zip(source, decoded, strict=True)]
        return np.asarray(torch.cat(means).cpu().numpy(), np.float32)


@cache
def load_weights() -> tuple[NDArray[np.float32], float]:
    """One for each channel, float32 (224,), and what is added."""
    with np.load(WEIGHTS) as stored:
        return stored["weights"], float(stored["bias"])


def sample(height: int, width: int) -> list[tuple[slice, slice]]:
    """Windows of a picture that stand for all of it: itself, or up to four tiles."""
    tiles = [
        (slice(top, min(top + TILE, height)), slice(left, min(left + TILE, width)))
        for top in range(0, max(1, height - TILE // 2), TILE)
        for left in range(0, max(1, width - TILE // 2), TILE)
    ]
    return tiles[:: -(-len(tiles) // TILES)]
