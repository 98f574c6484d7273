"""Uniform quantisation of latents."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    Array = TypeVar("Array", NDArray[np.float32], Tensor)

LARGEST_SYMBOL = 2047
"""Symbols beyond it are clipped; 256 standard deviations at the finest step."""


FINENESSES = range(1, 101)
"""Numbers of the quantiser's steps, from the coarsest to the finest."""


def step_of(fineness: int) -> float:
    """The quantiser's step in scaled latents (unit variance): 0.5 at 50, halved every 25.

    Normative. ``fineness``: one of ``FINENESSES``.
    """
    return float(0.5 * 2.0 ** ((50 - fineness) / 25))


def quantise(latents: NDArray[np.float32], step: float) -> NDArray[np.int64]:
    """float32 (4, h, w) scaled latents -> int64 symbols of the same shape."""
    rounded = np.rint(np.nan_to_num(latents / np.float32(step)))
    symbols: NDArray[np.int64] = np.clip(rounded, -LARGEST_SYMBOL, LARGEST_SYMBOL).astype(np.int64)
    return symbols


def dequantise(symbols: NDArray[np.int64], step: float) -> NDArray[np.float32]:
    """int64 symbols (4, h, w) -> float32 scaled latents."""
    return (symbols * step).astype(np.float32)


_POINTS = tuple(number / 10 - 0.4 for number in range(9))


def centroid(offset: "Array", spread: "Array", exp: "Callable[[Array], Array]") -> "Array":
    """Where in its cell a symbol's latent is, on average, when the prior has its way.

    ``offset``: expected value minus symbol; ``spread``: of the logistic distribution; both in
    symbols, arrays or tensors of one shape, with their ``exp``. The result, in symbols from the
    cell's middle, lies within ±0.4: to move a latent there lowers its mean squared error, the
    more the coarser the step (Sullivan, "Efficient scalar quantization of exponential and
    Laplacian random variables", 1996).
    """
    nearest = (abs(offset) - 0.4) / spread
    nearest = (nearest + abs(nearest)) / 2
    total, moment = 0 * offset, 0 * offset
    for point in _POINTS:
        distance = abs(offset - point) / spread
        # The logistic density, as a multiple of the nearest point's, which may be tiny.
        density = exp(nearest - distance) / (1 + exp(-distance)) ** 2
        total, moment = total + density, moment + density * point
    return moment / total
