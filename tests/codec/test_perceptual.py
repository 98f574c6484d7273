"""The guard's perceptual distance."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from django_latentimg import codec
from django_latentimg.codec.perceptual import TILE, TILES, Reference, sample
from tests.codec.test_codec import photograph
from tests.conftest import picture, shared


def compressed(image: Image.Image, format: str, quality: int) -> np.ndarray:
    target = io.BytesIO()
    image.save(target, format, quality=quality)
    return np.asarray(Image.open(target).convert("RGB"))


def test_distance__is_zero_for_equal_pictures_and_grows_with_damage():
    cat = photograph("chelsea.png")
    rgb = np.asarray(cat)
    assert Reference(rgb).distance(rgb) == 0
    found = [
        Reference(rgb).distance(compressed(cat, "AVIF", quality)) for quality in (90, 60, 30, 5)
    ]
    assert found == sorted(found)
    assert found[0] < 0.05 < found[-1]


@pytest.mark.parametrize("size", [(1, 1), (3, 70), (16, 16)])
def test_distance__of_small_pictures(size):
    image = picture(100, 100).resize(size)
    blurred = image.filter(ImageFilter.GaussianBlur(2))
    assert Reference(np.asarray(image)).distance(np.asarray(blurred)) >= 0


def test_distance__agrees_with_lpips():
    """On photographs that it was not fitted to, and codecs of other kinds."""
    from pathlib import Path

    from training.perceptual import Perceptual

    lpips = Perceptual(Path(shared("metrics/lpips_squeeze")))
    for name in ("astronaut.png", "coffee.png", "chelsea.png"):
        image = photograph(name).crop((60, 20, 380, 276))
        rgb = np.asarray(image)
        damaged = [compressed(image, *how) for how in (("AVIF", 20), ("AVIF", 50), ("WEBP", 30))]
        damaged.append(np.asarray(codec.decode(codec.encode(image))))
        ours = [Reference(rgb).distance(other) for other in damaged]
        with torch.inference_mode():
            theirs = [float(lpips.everywhere(tensor(rgb), tensor(other))) for other in damaged]
        np.testing.assert_allclose(ours, theirs, rtol=0.5, atol=0.01, err_msg=name)


def tensor(rgb: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_sample__bounds_what_is_looked_at():
    assert sample(300, 500) == [(slice(0, 300), slice(0, 500))]
    windows = sample(4000, 6000)
    assert 2 <= len(windows) <= TILES
    assert all(rows.stop - rows.start <= TILE for rows, _ in windows)
