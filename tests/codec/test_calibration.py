from functools import partial

import numpy as np
import pytest
from PIL import Image
from skimage import data

from django_latentimg import codec
from django_latentimg.codec import calibration, container, models
from django_latentimg.codec.calibration import LARGEST_SHIFT, fineness_of, likeness


@pytest.fixture(scope="module", params=models.BUNDLED)
def model(request: pytest.FixtureRequest) -> models.LatentModel:
    return models.load_model(request.param)


def fineness(model: models.LatentModel, picture: np.ndarray, quality: int) -> int:
    return fineness_of(model, picture, model.encode(picture), quality)


def gravel() -> np.ndarray:
    return np.repeat(data.gravel()[:256, :256, None], 3, axis=2)


def sky() -> np.ndarray:
    rows = np.linspace(140, 200, 256).astype(np.uint8)
    return np.tile(rows[:, None, None], (1, 256, 3))


def test_fineness_of__takes_finer_steps_where_less_survives(model):
    assert fineness(model, gravel(), 50) > 50 > fineness(model, sky(), 50)


@pytest.mark.parametrize("picture", [gravel(), sky(), np.zeros((8, 8, 3), np.uint8)])
def test_fineness_of__rises_with_quality_and_stays_in_range(model, picture):
    found = [fineness(model, picture, quality) for quality in range(1, 101, 9)]
    assert found == sorted(found)
    assert all(
        abs(value - quality) <= LARGEST_SHIFT or value in (1, 100)
        for value, quality in zip(found, range(1, 101, 9), strict=True)
    )
    assert 1 <= found[0] < found[-1] <= 100


def test_fineness_of__decodes_a_few_tiles_of_a_large_picture(model, monkeypatch):
    monkeypatch.setattr(models, "TILE", 8)
    monkeypatch.setattr(model, "margin", 2)
    sizes: list[tuple[int, ...]] = []
    decode = type(model).decode

    def spy(self, latents, *arguments, **options):
        sizes.append(latents.shape)
        return decode(self, latents, *arguments, **options)

    monkeypatch.setattr(type(model), "decode", spy)
    fineness(model, gravel(), 50)
    assert sizes == [(4, 8, 8)] * 4


@pytest.mark.parametrize("space", container.SPACES.values())
def test_likeness__falls_with_either_loss(space):
    of = partial(likeness, space)
    assert of(0.1, 0.1) > of(0.2, 0.1) > of(0.2, 0.2)


@pytest.mark.parametrize("name", models.BUNDLED)
def test_encode__writes_what_was_asked_and_what_it_came_to(name):
    model = models.load_model(name)
    latent = codec.Latent.from_bytes(codec.encode(Image.fromarray(sky()), quality=60, model=name))
    assert latent.quality == 60
    assert latent.fineness == fineness(model, sky(), 60)
    assert latent.step == 0.5 * 2 ** ((50 - latent.fineness) / 25)
    assert calibration.PROBE == 50
