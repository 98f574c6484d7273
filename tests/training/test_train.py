from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from django_latentimg.codec.quantize import step_of
from django_latentimg.codec.rate import Expecter
from tests.conftest import shared
from training.train import Config, Trainer, grain_loss, through_quantiser

FURTHER = Path(__file__).parent.parent.parent / "training" / "further.toml"


@pytest.fixture
def trainer(corpus, tmp_path):
    """Makes trainers of one run; a later one resumes where an earlier one saved."""
    teacher, lpips = shared("models/taesd"), shared("metrics/lpips_squeeze")
    values = vars(Config.read(FURTHER)) | {
        "batch": 4, "side": 64, "steps": 6, "decay_from": 3, "warmup": 1, "compatibility_every": 2
    }  # fmt: skip

    def make(run: str) -> Trainer:
        folder = tmp_path / run
        folder.mkdir(exist_ok=True)
        return Trainer(Config(**values), corpus, folder, teacher, lpips)

    return make


def test_trainer__goes_on_as_if_it_had_not_been_interrupted(trainer, tmp_path):
    whole = trainer("whole")
    expected = [whole.advance() for _ in range(6)]
    first = trainer("parts")
    told = [first.advance() for _ in range(3)]
    first.save()
    second = trainer("parts")
    assert second.step == 3
    told += [second.advance() for _ in range(3)]
    assert told == expected
    for name, value in whole.average.items():
        assert torch.equal(value, second.average[name]), name
    shipped = load_file(tmp_path / "parts" / "weights.safetensors")
    assert {name: value.shape for name, value in shipped.items()} == {
        name: value.shape for name, value in second.average.items()
    }


def test_trainer__lowers_the_loss_of_a_batch(trainer):
    one = trainer("one")
    terms = []
    for _ in range(6):
        one.step = 1  # The same crops, steps and noise every time.
        terms.append(one.advance())
    for name in ("pixels", "perceptual", "distill"):
        assert terms[-1][name] < terms[0][name], name


def test_trainer__starts_from_the_bundled_weights(trainer):
    from django_latentimg.codec.models import load_model

    bundled = load_model("lite").network.state_dict()
    for name, value in trainer("fresh").networks.state_dict().items():
        assert torch.equal(value, bundled[name]), name


@pytest.mark.parametrize("model", ["lite", "compact"])
def test_trainer__of_the_decoder_alone_leaves_the_latents_as_they_are(corpus, tmp_path, model):
    """With crops of refined latents, which are kept for a run that goes on."""
    values = vars(Config.read(FURTHER)) | {
        "batch": 4, "side": 64, "steps": 6, "warmup": 1, "model": model, "decoder_only": True,
        "refined": 3, "teacher_share": 0.5 if model == "lite" else 0.0, "clean_share": 1.0,
    }  # fmt: skip
    teacher, lpips = shared("models/taesd"), shared("metrics/lpips_squeeze")
    trainer = Trainer(Config(**values), corpus, tmp_path, teacher, lpips)
    assert trainer.refined
    pixels, latents, steps = trainer.refined.crops(2, trainer.config, 0)
    assert (pixels.shape, latents.shape) == ((2, 3, 64, 64), (2, 4, 8, 8))
    known = {step_of(fineness) for fineness in trainer.refined.finenesses.tolist()}
    assert all(any(abs(step - each) < 1e-6 for each in known) for step in steps.tolist())
    assert not torch.equal(trainer.encoder(pixels), latents), "they are refined"
    before = {name: value.clone() for name, value in trainer.networks.state_dict().items()}
    terms = trainer.advance()
    assert "distill" not in terms
    assert "rate" not in terms
    after = trainer.networks.state_dict()
    changed = {
        name.partition(".")[0] for name in after if not torch.equal(after[name], before[name])
    }
    assert changed == {"decoder"}
    again = Trainer(Config(**values), corpus, tmp_path, teacher, lpips)
    assert again.refined
    assert np.array_equal(again.refined.latents, trainer.refined.latents)


def test_trainer__of_both_networks_learns_from_refined_latents_too(corpus, tmp_path):
    values = vars(Config.read(FURTHER)) | {
        "batch": 4, "side": 64, "steps": 6, "warmup": 1, "teacher_share": 0.5, "refined": 1,
    }  # fmt: skip
    teacher, lpips = shared("models/taesd"), shared("metrics/lpips_squeeze")
    trainer = Trainer(Config(**values), corpus, tmp_path, teacher, lpips)
    before = {name: value.clone() for name, value in trainer.networks.state_dict().items()}
    assert {"distill", "rate", "structure"} <= set(trainer.advance())
    after = trainer.networks.state_dict()
    changed = {
        name.partition(".")[0] for name in after if not torch.equal(after[name], before[name])
    }
    assert changed == {"encoder", "decoder"}


def test_through_quantiser__rounds_at_own_steps_where_there_are_any():
    random = torch.Generator().manual_seed(0)
    latents = torch.randn(8, 4, 6, 6, generator=random)
    own_steps = torch.tensor([0.5] * 4 + [0.0] * 4)
    coded = through_quantiser(
        latents,
        Expecter("sd1", torch.device("cpu")),
        random,
        clean_share=1.0,
        step_range=(0.25, 1.5),
        own_steps=own_steps,
    )
    assert torch.equal(coded.steps, own_steps), "the others are clean"
    assert torch.equal(coded.latents[:4], torch.round(latents[:4] / 0.5) * 0.5)
    assert torch.equal(coded.latents[4:], latents[4:])


def test_grain_loss__is_what_squares_of_8_by_8_pixels_have_in_common():
    random = torch.Generator().manual_seed(0)
    source = torch.rand(2, 3, 64, 80, generator=random)
    pattern = torch.randn(3, 8, 8, generator=random)
    noise = torch.randn(source.shape, generator=random)
    pattern -= pattern.mean((1, 2), keepdim=True)
    alike, own = source + pattern.tile(1, 1, 8, 10) + 0.5, source + noise
    power = float(pattern.square().mean())
    assert float(grain_loss(alike, source)) == pytest.approx(power, rel=1e-4)
    assert float(grain_loss(own, source)) == pytest.approx(1 / 80, rel=0.2)
    # One that is the opposite in the other half of the picture is none.
    halves = torch.cat([alike[..., :40], (2 * source - alike)[..., 40:]], 3)
    assert float(grain_loss(halves, source)) < 1e-9
