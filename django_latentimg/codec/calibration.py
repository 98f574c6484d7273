"""What ``quality`` means: which quantiser step, so that equal quality looks about equally good.

At one and the same step, pictures differ in how much of them survives. So the step of a picture
depends on it: the picture is decoded once at a middling step, and if it comes out less like its
source than pictures usually do, it is given a finer step than they are, otherwise a coarser one.
How much is the same at every quality, so a higher quality never takes fewer bytes.

The constants were fitted on photographs held out from training (``training/calibrate.py``).
"""

import numpy as np
from numpy.typing import NDArray

from .models import LatentModel
from .quantize import FINENESSES, dequantise, quantise, step_of

PROBE = 50
"""Fineness at which a picture is decoded to see how it fares."""
PROBED_TILES = 4
"""Of a large picture only so many tiles are decoded, evenly spread."""
LIKENESS = {"sd1": (-87.0, -24.7, -12.2), "compact1": (-81.8, -22.6, -14.0)}
"""Of a latent space: SSIMULACRA2 is about the first, plus the second times the logarithm of the
structure's loss, plus the third times that of the pixels'."""
USUAL = -11.7
"""Mean likeness of photographs at the probe, in Stable Diffusion's space. Where others are more
alike, they are given coarser steps, so that a quality means about the same in each."""
FINENESS_PER_POINT = 0.75
LARGEST_SHIFT = 12
"""Pictures that this latent space cannot hold would take bytes without end."""


def fineness_of(
    model: LatentModel, rgb: NDArray[np.uint8], latents: NDArray[np.float32], quality: int
) -> int:
    """The quantiser step's number, 1 to 100, for ``quality``, 1 to 100.

    ``rgb``: uint8 (8h, 8w, 3); ``latents``: float32 (4, h, w), the encoder's.
    """
    wanted = FINENESS_PER_POINT * (USUAL - likeness(model.space, *losses(model, rgb, latents)))
    shift = round(min(max(wanted, -LARGEST_SHIFT), LARGEST_SHIFT))
    return min(max(quality + shift, FINENESSES[0]), FINENESSES[-1])


def likeness(space: str, structure: float, pixels: float) -> float:
    """About the SSIMULACRA2 of a decoded picture with these losses."""
    constant, of_structure, of_pixels = LIKENESS[space]
    return float(constant + of_structure * np.log(structure) + of_pixels * np.log(pixels))


def losses(
    model: LatentModel, rgb: NDArray[np.uint8], latents: NDArray[np.float32]
) -> tuple[float, float]:
    """(structure, pixels) of what the probe decodes to, at least 0.001 each."""
    import torch

    from .distortion import pixel_loss, structure_loss

    tiles = list(model.tiles(*latents.shape[1:]))
    found = []
    for rows, columns in tiles[:: -(-len(tiles) // PROBED_TILES)]:
        part = latents[:, rows.start : rows.stop, columns.start : columns.stop]
        source = rgb[rows.start * 8 : rows.stop * 8, columns.start * 8 : columns.stop * 8]
        pictures = [
            torch.from_numpy(levels.copy()).permute(2, 0, 1)[None] / 127.5 - 1
            for levels in (round_trip(model, part, step_of(PROBE)), source)
        ]
        found.append([float(loss(*pictures)) for loss in (structure_loss, pixel_loss)])
    structure, pixels = np.maximum(np.mean(found, axis=0), 1e-3).tolist()
    return structure, pixels


def round_trip(model: LatentModel, latents: NDArray[np.float32], step: float) -> NDArray[np.uint8]:
    """What latents, float32 (4, h, w), decode to once rounded: uint8 (8h, 8w, 3)."""
    import torch

    from .rate import load_expecter

    rounded = dequantise(quantise(latents, step), step)
    expect = load_expecter(model.space, model.device)
    with torch.inference_mode():
        known = torch.from_numpy(rounded)[None].to(model.device)
        steps = torch.tensor([step], device=model.device)
        hints = expect(known, steps).hints(known, steps)[0].cpu().numpy()
    return model.decode(rounded, hints, step=step)
