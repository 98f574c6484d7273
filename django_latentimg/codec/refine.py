"""Refinement: gradient steps on a picture's latents, through quantiser, prior and decoder.

An encoder's output is only a starting point. Adam moves the latents to where the decoder makes the
best of them for their bits (Campos et al., "Content adaptive optimization for neural image
compression", CVPRW 2019): the loss is distortion plus price times rate. Rounding passes the
gradient straight through.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import ImageError
from .models import LatentModel
from .quantize import step_of

if TYPE_CHECKING:
    from torch import Tensor

Progress = Callable[[int, int], None]
"""Called after every step with the number of steps done and their total."""

STEPS_PER_EFFORT = 5
LEARNING_RATE = 0.03
"""At the first step, in quantiser steps; falls linearly to a fifth."""
LONG = 20
"""With more steps than these each is smaller, so that the last ones settle."""
COARSE = 1.0
STRUCTURE = 0.3
TEXTURE = 1.0
"""Weights of the distortions beside the pixels' own."""
PRICE = 0.04
"""Of a bit for every symbol, times the quantiser's step: a coarser step buys with less."""


def refine(
    model: LatentModel,
    rgb: NDArray[np.uint8],
    latents: NDArray[np.float32],
    *,
    fineness: int,
    effort: int,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Better latents for ``rgb`` at this quantiser step; same shape and dtype as ``latents``.

    ``rgb``: uint8 (H, W, 3), padded to multiples of 8; ``latents``: float32 (4, H/8, W/8);
    ``effort``: 1 to 9. One tile at a time, so memory is bounded. Raises ``ImageError`` for
    another effort.
    """
    if not 1 <= effort <= 9:
        raise ImageError(f"Effort must be from 0 to 9, not {effort}.")
    refined = latents.copy()
    _, height, width = latents.shape
    spans = list(model.tiles(height, width))
    steps = STEPS_PER_EFFORT * effort
    for number, (rows, columns) in enumerate(spans):

        def report(done: int, before: int = number * steps) -> None:
            if progress:
                progress(before + done, len(spans) * steps)

        tile = _Tile(
            refined[
                :, rows.outer_start : rows.outer_stop, columns.outer_start : columns.outer_stop
            ],
            rgb[rows.start * 8 : rows.stop * 8, columns.start * 8 : columns.stop * 8],
            rows.start - rows.outer_start,
            columns.start - columns.outer_start,
            step_of(fineness),
            report,
        )
        refined[:, rows.start : rows.stop, columns.start : columns.stop] = model.passes(
            partial(_refine_tiles, model, steps),
            tile,
            pixels=tile.latents[0].size * 64,
            like=("refine", steps, tile.latents.shape, tile.source.shape, tile.top, tile.left),
        )
    return refined


class _Tile(NamedTuple):
    latents: NDArray[np.float32]
    """(4, h, w), with margins, which are held as they are."""
    source: NDArray[np.uint8]
    """(H, W, 3), without."""
    top: int
    """Latent pixels of margin."""
    left: int
    step: float
    """The quantiser's."""
    report: Callable[[int], None]


def _refine_tiles(model: LatentModel, steps: int, tiles: list[_Tile]) -> list[NDArray[np.float32]]:
    """Latents of the insides, which are of one shape and lie alike."""
    import torch

    from .distortion import coarse_loss, pixel_loss, structure_loss, texture_loss
    from .rate import load_expecter

    step_of_each = torch.tensor([tile.step for tile in tiles], device=model.device)
    step = step_of_each.view(-1, 1, 1, 1)
    expect = load_expecter(model.space, model.device)
    (rows, columns, _), (_, _, top, left, _, _) = tiles[0].source.shape, tiles[0]
    inside = np.s_[:, :, top : top + rows // 8, left : left + columns // 8]
    inside_pixels = np.s_[:, :, top * 8 : top * 8 + rows, left * 8 : left * 8 + columns]
    window = torch.from_numpy(np.stack([tile.latents for tile in tiles])).to(model.device) / step
    margins = torch.round(window)
    source = torch.from_numpy(np.stack([tile.source for tile in tiles])).to(model.device)
    source = source.permute(0, 3, 1, 2).float() / 127.5 - 1

    def cost(variable: "Tensor") -> "Tensor":
        """Of all tiles."""
        symbols = margins.clone()
        symbols[inside] = variable + (torch.round(variable) - variable).detach()
        whole = symbols * step
        expected = expect(whole, step_of_each)
        hints = expected.hints(whole, step_of_each).detach()
        decoded = model.to_pixels(whole, hints, step_of_each, 1)[inside_pixels]
        mean = (
            pixel_loss(decoded, source)
            + COARSE * coarse_loss(decoded, source)
            + STRUCTURE * structure_loss(decoded, source)
            + TEXTURE * texture_loss(decoded, source)
            + PRICE * (step * expected.bits(whole, step_of_each)[inside]).mean()
        )
        return mean * len(tiles)

    variable = window[inside].clone().requires_grad_()  # In symbols, as the learning rate is.
    optimiser = torch.optim.Adam([variable], betas=(0.9, 0.95))
    first_rate = LEARNING_RATE * min(1.0, LONG / steps)
    for number in range(steps):
        optimiser.param_groups[0]["lr"] = first_rate * (1 - 0.8 * number / steps)
        (variable.grad,) = torch.autograd.grad(cost(variable), variable)
        optimiser.step()
        for tile in tiles:
            tile.report(number + 1)
    return list((variable.detach() * step).cpu().numpy())
