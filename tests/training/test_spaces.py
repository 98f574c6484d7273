"""Latent spaces that begin as the bundled model, and their training."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from django_latentimg.codec import prior
from django_latentimg.codec.lite import load_networks
from django_latentimg.codec.models import LITE_FOLDER, SD1, load_model
from django_latentimg.codec.rate import Expecter
from tests.conftest import picture, shared
from training import search, spaces
from training.export import export_space
from training.search import CPU, Material
from training.spaces import (
    SPACES,
    Model,
    Space,
    SpaceSearch,
    coded_picture,
    compare_spaces,
    folder_of,
)
from training.taesd import Taesd
from training.train import SMALL_HEADS


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


@pytest.mark.parametrize("name", ["4 at 1/8", "12 at 1/8"])
def test_model__prices_the_first_channels_as_the_bundled_prior(name):
    model, steps = Model(SPACES[name]), torch.tensor([0.5, 1.0])
    random = torch.Generator().manual_seed(0)
    latents = torch.randn(2, SPACES[name].channels, 6, 5, generator=random)
    with torch.inference_mode():
        found = model.prior.expect(latents, steps)
        expected = Expecter(SD1, CPU)(latents[:, :4], steps)
    assert torch.allclose(found.mean[:, :4], expected.mean, atol=1e-5)
    assert torch.allclose(found.spread[:, :4], expected.spread, atol=1e-5)


@pytest.mark.parametrize("name", ["Stable Diffusion's", "8 at 1/8", "16 at 1/16"])
def test_search__trains_networks_and_prior(name, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "SIDE", 64)
    monkeypatch.setattr(search, "BATCH", 6)
    monkeypatch.setattr(spaces, "RISE", 0.1)
    monkeypatch.setattr(spaces, "PRIOR_FIRST", 0.0)
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


def test_search__begins_with_the_prior_where_that_begins_from_nothing(
    corpus, tmp_path, monkeypatch
):
    monkeypatch.setattr(search, "SIDE", 64)
    monkeypatch.setattr(search, "BATCH", 6)
    material = Material(corpus, shared("metrics/lpips_squeeze"))
    teacher = Taesd(shared("models/taesd"))
    run = SpaceSearch(SPACES["32 at 1/16"], material, teacher, tmp_path)
    run.usual_norm = 1000.0
    before = {key: value.clone() for key, value in run.networks.state_dict().items()}
    assert run.advance().keys() == {"rate", "norm"}
    after = run.networks.state_dict()
    changed = {key.partition(".")[0] for key in after if not torch.equal(after[key], before[key])}
    assert changed == {"prior"}
    run.seconds = spaces.PRIOR_FIRST + spaces.RISE
    assert "perceptual" in run.advance()


def trained(runs, name: str) -> Model:
    """As a run that has changed every weight a little leaves it."""
    model = Model(SPACES[name])
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.25)
    folder = runs / folder_of(name)
    folder.mkdir()
    state = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / "weights.safetensors")
    return model


def test_search__goes_on_from_the_space_that_was_trained_before(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "SIDE", 64)
    monkeypatch.setattr(search, "BATCH", 6)
    name = "4 at 1/8, further"
    before = SPACES[name].after
    assert before
    material = Material(corpus, shared("metrics/lpips_squeeze"))

    def run() -> SpaceSearch:
        teacher = Taesd(shared("models/taesd"))
        return SpaceSearch(SPACES[name], material, teacher, tmp_path / folder_of(name))

    with pytest.raises(FileNotFoundError):
        run()
    expected = trained(tmp_path, before).state_dict()
    found = run()
    for key, value in found.networks.state_dict().items():
        assert torch.allclose(value, expected[key], atol=1e-2), key
    assert found.price() == spaces.PRICE, "its prior knows the space already"


def test_export__gives_a_trained_space_the_bundled_small_heads(tmp_path):
    model = trained(tmp_path, "4 at 1/8").state_dict()
    export_space("4 at 1/8", tmp_path, "compact", tmp_path)
    bundled = load_networks(LITE_FOLDER).state_dict()
    exported = load_networks(tmp_path / "compact").state_dict()
    assert exported.keys() == bundled.keys()
    small = {key for key in bundled if key.startswith(tuple(f"decoder.{h}" for h in SMALL_HEADS))}
    assert small
    for key, value in exported.items():
        expected = bundled[key] if key in small else model[key]
        assert torch.allclose(value, expected, atol=1e-2), key
    with np.load(tmp_path / "prior-compact1.npz") as written:
        hidden = written["hidden"] / 2**prior.WEIGHT_BITS
        assert np.abs(hidden - model["prior.hidden"].numpy()).max() < 1e-2
        assert written["cumulative"].shape == (prior.SPREADS * prior.PHASES, prior.ESCAPE + 2)


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
