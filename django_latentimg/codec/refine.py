"""Refinement: gradient steps on a picture's latents, through quantiser and decoder.

An encoder's output is only a starting point. Adam moves the latents towards what the decoder turns
into the source (Campos et al., "Content Adaptive Optimization for Neural Image Compression",
CVPRW 2019); rounding passes the gradient straight through. A small price on the magnitude of the
symbols keeps the bits from growing.
"""

import numpy as np
from numpy.typing import NDArray

from .errors import ImageError
from .models import LatentModel, Span

STEPS_PER_EFFORT = 5
LEARNING_RATE = 0.015
"""In scaled latents."""
PRICE = 0.012
"""Of one nat of ``log(1 + |symbol|)``, in units of the pixel loss."""


def refine(
    model: LatentModel,
    rgb: NDArray[np.uint8],
    latents: NDArray[np.float32],
    *,
    step: float,
    effort: int,
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
    for rows, columns in model.tiles(height, width):
        refined[:, rows.start : rows.stop, columns.start : columns.stop] = _refine_tile(
            model, rgb, refined, rows, columns, step, effort
        )
    return refined


def _refine_tile(
    model: LatentModel,
    rgb: NDArray[np.uint8],
    latents: NDArray[np.float32],
    rows: Span,
    columns: Span,
    step: float,
    effort: int,
) -> NDArray[np.float32]:
    """Latents of the tile's inside; its margins are held as they are."""
    import torch

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
    target = torch.from_numpy(part.copy()).to(model.device)
    target = target.permute(2, 0, 1)[None].float() / 127.5 - 1

    variable = torch.from_numpy(window[None].copy()).to(model.device)[inside].requires_grad_()
    optimiser = torch.optim.Adam([variable], lr=LEARNING_RATE)
    for _ in range(STEPS_PER_EFFORT * effort):
        quantised = variable + (torch.round(variable / step) * step - variable).detach()
        whole = outer.clone()
        whole[inside] = quantised
        decoded = model.to_pixels(whole, step, 1)[inside_pixels]
        error = decoded - target
        magnitude = torch.log1p((quantised / step).abs()).mean()
        loss = error.abs().mean() + error.square().mean() + PRICE * magnitude
        (variable.grad,) = torch.autograd.grad(loss, variable)
        optimiser.step()
    result: NDArray[np.float32] = variable.detach()[0].cpu().numpy()
    return result
