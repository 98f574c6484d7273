"""Write the bundled model from a checkpoint: ``python -m training export CONFIG``."""

from pathlib import Path

import torch

from django_latentimg.codec.autoencoder_lite import AutoencoderLite


def export_model(checkpoint: Path, folder: Path) -> None:
    """The running averages of the weights, as float16 safetensors with their configuration."""
    average = torch.load(checkpoint, map_location="cpu", weights_only=True)["average"]
    names = {"0.": "encoder.", "1.": "decoder."}
    model = AutoencoderLite()
    model.load_state_dict({names[key[:2]] + key[2:]: value for key, value in average.items()})
    model.half().save_pretrained(folder, safe_serialization=True)
    (folder / "diffusion_pytorch_model.safetensors").chmod(0o644)
