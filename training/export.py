"""Write a bundled model: ``python -m training export CONFIG`` from a stage's run.

And ``export-space NAME MODEL`` from a run of ``spaces.py``: networks, which have no small heads yet
and are given those of ``lite``, and prior, for ``prior.py`` to go on with.
"""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from django_latentimg.codec.autoencoder_lite import AutoencoderLite
from django_latentimg.codec.models import LITE_FOLDER, space_of

from .graphs import WEIGHTS
from .prior import save, smooth_tables
from .spaces import load_trained


def export_model(run: Path, folder: Path) -> None:
    """The running averages of the weights, as float16 safetensors with their configuration."""
    write(load_file(run / "weights.safetensors"), folder)


def export_space(name: str, runs: Path, model: str, folder: Path) -> None:
    """Of a space with four channels at 1/8, as a bundled ``model``; ``folder``: of weights."""
    trained = load_trained(name, runs)
    state, bundled = trained.state_dict(), load_file(LITE_FOLDER / WEIGHTS)
    write({key: state.get(key, value) for key, value in bundled.items()}, folder / model)
    save(trained.prior, smooth_tables(), folder, space_of(model))


def write(weights: dict[str, Tensor], folder: Path) -> None:
    model = AutoencoderLite()
    model.load_state_dict(weights)
    model.half().save_pretrained(folder, safe_serialization=True)
    (folder / WEIGHTS).chmod(0o644)
