import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from django_latentimg import codec
from django_latentimg.codec import models
from django_latentimg.codec.distortion import coarse_loss, pixel_loss, structure_loss, texture_loss


@pytest.fixture(scope="module")
def face() -> Image.Image:
    return Image.fromarray(data.astronaut()).crop((160, 40, 352, 232))


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1


@pytest.mark.parametrize("loss", [pixel_loss, coarse_loss, structure_loss, texture_loss])
def test_refine__effort_lowers_every_distortion(face, loss):
    plain, refined = (codec.encode(face, effort=effort) for effort in (0, 4))
    before, after = (
        float(loss(tensor(codec.decode(blob)), tensor(face))) for blob in (plain, refined)
    )
    assert after < before
    assert len(refined) < len(plain) * 1.15


def test_refine__tells_of_every_step(face):
    told: list[tuple[int, int]] = []
    codec.encode(face, effort=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(number, 10) for number in range(1, 11)]


def test_refine__goes_tile_by_tile(face, monkeypatch):
    """Tiles of 8 latents; progress spans them, and the picture gains as the whole does."""
    whole = codec.encode(face, effort=2)
    monkeypatch.setattr(models, "TILE", 8)
    monkeypatch.setattr(models.load_model("lite"), "margin", 4)
    told: list[tuple[int, int]] = []
    tiled = codec.encode(face, effort=2, progress=lambda *given: told.append(given))
    assert told[-1] == (90, 90)
    errors = [
        float(pixel_loss(tensor(codec.decode(blob)), tensor(face))) for blob in (whole, tiled)
    ]
    assert errors[1] < errors[0] * 1.1
