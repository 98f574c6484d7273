"""Latent spaces that begin as the bundled model, and their training."""

import numpy as np
import pytest
import skimage.data
import torch

from django_latentimg.codec.models import load_model
from django_latentimg.codec.rate import Expecter
from tests.conftest import picture, shared
from training import search, spaces
from training.search import CPU, Material
from training.spaces import (
    SPACES,
    Model,
    Space,
    SpaceSearch,
    coded_picture,
    compare_spaces,
    folder_of,
    kept,
)
from training.taesd import Taesd


@pytest.fixture(scope="module")
def rgb():
    return np.asarray(picture(64, 64))


@pytest.mark.parametrize("name", SPACES)
def test_model__begins_as_the_bundled_one(name, rgb):
    """More channels, or another order of the same numbers, change no pixel."""
    model, bundled, step = Model(SPACES[name]), load_model("lite"), 0.5
    pixels = torch.from_numpy(rgb.transpose(2, 0, 1) / 127.5 - 1).float()[None]
    with torch.inference_mode():
        latents = model.encode(pixels)
        picture = model.decode(
            latents, torch.zeros(1), torch.zeros_like(latents).repeat(1, 2, 1, 1)
        )
    expected = bundled.decode(bundled.encode(rgb), None, step=0)
    found = ((picture[0] + 1) * 127.5).round().clamp(0, 255).permute(1, 2, 0).numpy()
    assert np.abs(found - expected.astype(float)).mean() < 0.6
    _, bits = coded_picture(model, rgb, step)
    assert bits > 0


def test_model__gives_additional_channels_a_spread_that_rounding_leaves_something_of():
    random = torch.Generator().manual_seed(0)
    pictures = torch.rand(2, 3, 64, 64, generator=random) * 2 - 1
    model = Model(Space(12), pictures)
    with torch.inference_mode():
        latents = model.encode(pictures)
        first = Model(Space(4)).encode(pictures)
    assert torch.equal(latents[:, :4], first)
    added = latents[:, 4:]
    assert torch.allclose(added.mean((0, 2, 3)), torch.zeros(8), atol=1e-4)
    assert torch.allclose(added.std((0, 2, 3)), torch.ones(8), atol=1e-3)


def test_kept_weights__show_more_with_fewer_bits_than_those_they_began_with():
    """Photographs of scikit-image, which no weights were trained on."""
    models = Model(Space(4)), kept("4 at 1/8, longer")
    bits, errors = np.zeros(2), np.zeros(2)
    for name in ("astronaut", "chelsea", "coffee"):
        rgb = np.ascontiguousarray(getattr(skimage.data, name)()[:296, :392])
        for number, model in enumerate(models):
            decoded, spent = coded_picture(model, rgb, 0.5)
            bits[number] += spent
            errors[number] += np.square(decoded - rgb.astype(float)).mean()
    assert bits[1] < bits[0]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("name", ["4 at 1/8", "12 at 1/8"])
def test_model__prices_the_first_channels_as_the_bundled_prior(name):
    model, steps = Model(SPACES[name]), torch.tensor([0.5, 1.0])
    random = torch.Generator().manual_seed(0)
    latents = torch.randn(2, SPACES[name].channels, 6, 5, generator=random)
    with torch.inference_mode():
        found = model.prior.expect(latents, steps)
        expected = Expecter(CPU)(latents[:, :4], steps)
    assert torch.allclose(found.mean[:, :4], expected.mean, atol=1e-5)
    assert torch.allclose(found.spread[:, :4], expected.spread, atol=1e-5)


@pytest.mark.parametrize("name", ["Stable Diffusion's", "8 at 1/8", "16 at 1/16"])
def test_search__trains_networks_and_prior(name, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "SIDE", 64)
    monkeypatch.setattr(search, "BATCH", 6)
    monkeypatch.setattr(spaces, "RISE", 0.1)
    material = Material(corpus, shared("metrics/lpips_squeeze"))
    run = SpaceSearch(SPACES[name], material, Taesd(shared("models/taesd")), tmp_path)
    run.usual_norm = 1000.0  # Made-up latents would make it leave steps out at first.
    before = {key: value.clone() for key, value in run.networks.state_dict().items()}
    terms = [run.advance() for _ in range(2)]
    assert (
        ("compatibility" in terms[0]) == ("distill" in terms[0]) == (name == "Stable Diffusion's")
    )
    changed = {
        key.partition(".")[0]
        for key, value in run.networks.state_dict().items()
        if not torch.equal(value, before[key])
    }
    assert {"encoder", "decoder", "prior"} <= changed
    assert ("up" in changed) == SPACES[name].sixteenth
    run.save()
    again = SpaceSearch(SPACES[name], material, run.teacher, tmp_path)
    assert again.step == 2
    assert again.price() == pytest.approx(run.price())


@pytest.fixture
def report(tmp_path, monkeypatch):
    """Where it goes; it is of a log that nothing has written to yet."""
    monkeypatch.setattr(search, "LOG", tmp_path / "search.jsonl")
    monkeypatch.setattr(spaces, "TARGET", tmp_path / "SPACES.md")
    return tmp_path / "SPACES.md"


def measured(*names: str) -> None:
    for number, name in enumerate(names):
        search.logger("space", "train")({"candidate": name, "seconds": 60.0, "step": 10})
        for place, step in enumerate(spaces.STEPS):
            bpp = 0.18 / (place + 1)
            measures = {"psnr": 30.0 - place, "ssimulacra2": 50.0 - place, "lpips": 0.1 + place}
            # Each takes a tenth fewer bits than the one before.
            row = {"candidate": name, "step": step, "bpp": bpp * 0.9**number}
            search.logger("space", "measure")(row | measures)
        search.logger("space", "time")({"candidate": name, "milliseconds": 80.0})
        row = {"candidate": name, "bits": [2.0] * 4 + [0.0], "spread": [1.0] * 4 + [0.1]}
        search.logger("space", "channels")(row)


def test_report__of_spaces_compares_curves_with_the_first(report):
    measured("Stable Diffusion's", "4 at 1/8", spaces.BUNDLED)
    spaces.write_report()
    rows = report.read_text().splitlines()
    changes = " | ".join(["-10 % / +11 %"] * 3)
    assert f"| 4 at 1/8 | 60 | 10 | 1.00 | 0.0625 | {changes} |" in rows
    changes = " | ".join(["– / +23 %"] * 3)
    assert f"| Stable Diffusion's | 60 | 10 | 1.00 | 0.0625 | {changes} |" in rows
    assert "| 4 at 1/8 | 1.00 | 0.10 | 2.00 | 0.00 |" in rows


def test_spaces__that_were_measured_are_not_trained_again(report, tmp_path):
    measured("Stable Diffusion's", "4 at 1/8", spaces.BUNDLED)
    before = search.LOG.read_text()
    nowhere = tmp_path / "nowhere"
    compare_spaces(nowhere, nowhere, nowhere, nowhere, ["4 at 1/8"])
    assert search.LOG.read_text() == before
    assert "| 4 at 1/8 | 60 | 10 |" in report.read_text()
    with pytest.raises(FileNotFoundError):
        compare_spaces(nowhere, nowhere, nowhere, nowhere, ["8 at 1/8"])


def test_runs__of_spaces_have_folders_of_their_own():
    folders = {folder_of(name) for name in SPACES}
    assert len(folders) == len(SPACES)
    assert folder_of("8 at 1/8, longer") == "space-8-at-1-8-longer"
