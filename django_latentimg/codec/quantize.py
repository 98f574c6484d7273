"""Uniform quantisation of latents."""

import numpy as np
from numpy.typing import NDArray

from .errors import ImageError

LARGEST_SYMBOL = 2047
"""Symbols beyond it are clipped; 256 standard deviations at the finest step."""


def step_of(quality: int) -> float:
    """The quantiser's step in scaled latents (unit variance): 0.5 at 50, halved every 25.

    Normative. Raises ``ImageError`` unless 1 <= quality <= 100.
    """
    if not 1 <= quality <= 100:
        raise ImageError(f"Quality must be from 1 to 100, not {quality}.")
    return float(0.5 * 2.0 ** ((50 - quality) / 25))


def quantise(latents: NDArray[np.float32], step: float) -> NDArray[np.int64]:
    """float32 (4, h, w) scaled latents -> int64 symbols of the same shape."""
    rounded = np.rint(np.nan_to_num(latents / np.float32(step)))
    symbols: NDArray[np.int64] = np.clip(rounded, -LARGEST_SYMBOL, LARGEST_SYMBOL).astype(np.int64)
    return symbols


def dequantise(symbols: NDArray[np.int64], step: float) -> NDArray[np.float32]:
    """int64 symbols (4, h, w) -> float32 scaled latents."""
    return (symbols * step).astype(np.float32)
