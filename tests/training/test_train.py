from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import shared
from training.train import Config, Trainer

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
