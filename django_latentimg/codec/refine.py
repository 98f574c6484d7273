"""Refinement: gradient steps on a picture's latents, through quantiser, prior and decoder.

An encoder's output is only a starting point. Adam moves the latents to where the decoder makes the
best of them for their bits (Campos et al., "Content adaptive optimization for neural image
compression", CVPRW 2019): the loss is distortion plus price times rate. Rounding passes the
gradient straight through.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .errors import ImageError
from .models import LatentModel, Span
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
    tiles = list(model.tiles(height, width))
    steps = STEPS_PER_EFFORT * effort
    for number, (rows, columns) in enumerate(tiles):

        def report(done: int, before: int = number * steps) -> None:
            if progress:
                progress(before + done, len(tiles) * steps)

        refined[:, rows.start : rows.stop, columns.start : columns.stop] = _refine_tile(
            model, rgb, refined, rows, columns, fineness, steps, report
        )
    return refined


def _refine_tile(
    model: LatentModel,
    rgb: NDArray[np.uint8],
    latents: NDArray[np.float32],
    rows: Span,
    columns: Span,
    fineness: int,
    steps: int,
    report: Callable[[int], None],
) -> NDArray[np.float32]:
    """Latents of the tile's inside; its margins are held as they are."""
    import torch

    from .distortion import coarse_loss, pixel_loss, structure_loss, texture_loss
    from .rate import load_expecter

    step = step_of(fineness)
    steps_of_one = torch.tensor([step], device=model.device)
    expect = load_expecter(model.device)
    inside = (
        slice(None),
        slice(None),
        slice(rows.start - rows.outer_start, rows.stop - rows.outer_start),
        slice(columns.start - columns.outer_start, columns.stop - columns.outer_start),
    )
    inside_pixels = inside[:2] + tuple(slice(s.start * 8, s.stop * 8) for s in inside[2:])
    window = latents[
        :, rows.outer_start : rows.outer_stop, columns.outer_start : columns.outer_stop
    ]
    outer = torch.from_numpy(np.round(window / step)[None] * step).float().to(model.device)
    part = rgb[rows.start * 8 : rows.stop * 8, columns.start * 8 : columns.stop * 8]
    source = torch.from_numpy(part.copy()).to(model.device)
    source = source.permute(2, 0, 1)[None].float() / 127.5 - 1

    def cost(variable: "Tensor") -> "Tensor":
        whole = outer.clone()
        whole[inside] = variable + (torch.round(variable / step) * step - variable).detach()
        expected = expect(whole, steps_of_one)
        hints = expected.hints(whole, steps_of_one).detach()
        decoded = model.to_pixels(whole, hints, step, 1)[inside_pixels]
        return (
            pixel_loss(decoded, source)
            + COARSE * coarse_loss(decoded, source)
            + STRUCTURE * structure_loss(decoded, source)
            + TEXTURE * texture_loss(decoded, source)
            + PRICE * step * expected.bits(whole, steps_of_one)[inside].mean()
        )

    variable = torch.from_numpy(window[None].copy()).to(model.device)[inside].requires_grad_()
    optimiser = torch.optim.Adam([variable], betas=(0.9, 0.95))
    first_rate = LEARNING_RATE * step * min(1.0, LONG / steps)
    for number in range(steps):
        optimiser.param_groups[0]["lr"] = first_rate * (1 - 0.8 * number / steps)
        (variable.grad,) = torch.autograd.grad(cost(variable), variable)
        optimiser.step()
        report(number + 1)
    result: NDArray[np.float32] = variable.detach()[0].cpu().numpy()
    return result
