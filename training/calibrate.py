"""Fit what ``quality`` means: ``python -m training calibrate MODEL`` prints the constants of
``codec/calibration.py``, from photographs held out from training, at effort 0.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.metrics import ssimulacra2
from django_latentimg.codec import calibration
from django_latentimg.codec.models import load_model
from django_latentimg.codec.quantize import step_of

from .data import split


def calibrate(corpus: Path, name: str) -> None:
    """The regression of SSIMULACRA2 on the losses, and how well it tells photographs apart."""
    model, step = load_model(name), step_of(calibration.PROBE)
    rows: list[tuple[float, float]] = []
    values: list[float] = []
    photographs = np.load(corpus / "pixels.npy", mmap_mode="r")
    for index in split(corpus)[1]:
        rgb: NDArray[np.uint8] = np.ascontiguousarray(photographs[index].transpose(1, 2, 0))
        latents = model.encode(rgb)
        rows.append(calibration.losses(model, rgb, latents))
        values.append(ssimulacra2(rgb, calibration.round_trip(model, latents, step)))
    inputs = np.concatenate([np.ones((len(rows), 1)), np.log(rows)], 1)
    wanted = np.array(values)
    constants = np.linalg.lstsq(inputs, wanted)[0]
    residual = wanted - inputs @ constants
    print("LIKENESS:", tuple(round(float(constant), 1) for constant in constants))
    print(f"USUAL: {wanted.mean():.1f}")
    print(f"{len(rows)} photographs: ± {wanted.std():.1f}, of which {residual.std():.1f} not told")
