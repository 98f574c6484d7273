"""Write the bundled model from a run: ``python -m training export CONFIG``."""

from pathlib import Path

from safetensors.torch import load_file

from django_latentimg.codec.autoencoder_lite import AutoencoderLite


def export_model(run: Path, folder: Path) -> None:
    """The running averages of the weights, as float16 safetensors with their configuration."""
    model = AutoencoderLite()
    model.load_state_dict(load_file(run / "weights.safetensors"))
    model.half().save_pretrained(folder, safe_serialization=True)
    (folder / "diffusion_pytorch_model.safetensors").chmod(0o644)
