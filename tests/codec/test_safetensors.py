"""Raw latents, as machine-learning clients get them."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load

from django_latentimg import codec
from django_latentimg.codec.__main__ import main
from tests.codec.test_codec import photograph, psnr
from tests.codec.test_models import kl_folder  # noqa: F401
from tests.conftest import shared


@pytest.fixture(scope="module")
def cat() -> Image.Image:
    return photograph("chelsea.png").crop((100, 50, 228, 178))


@pytest.fixture(scope="module")
def latent(cat) -> codec.Latent:
    return codec.Latent.from_bytes(codec.encode(cat))


def test_safetensors__hold_the_latents_and_say_how_they_are_scaled(latent, tmp_path):
    path = tmp_path / "cat.safetensors"
    path.write_bytes(latent.safetensors())
    with safe_open(path, "np") as opened:
        assert list(opened.keys()) == ["latents"]
        latents = opened.get_tensor("latents")
        metadata = opened.metadata()
    assert latents.dtype == np.float16
    assert np.abs(latents[0] - latent.latents()).max() < 0.01
    assert metadata == {"space": "sd1", "scaling_factor": "0.18215", "width": "128",
                        "height": "128"}  # fmt: skip


def test_safetensors__are_not_made_of_what_no_vae_reads(cat):
    latent = codec.Latent.from_bytes(codec.encode(cat, model="compact"))
    with pytest.raises(codec.BlobError, match=r"'compact1'.*only"):
        latent.safetensors()
    assert latent.latents().shape == (4, 16, 16)


def test_safetensors__decode_with_taesd(latent, cat):
    from diffusers import AutoencoderTiny

    vae = AutoencoderTiny.from_pretrained(shared("models/taesd"), low_cpu_mem_usage=False)
    latents = load(latent.safetensors())["latents"].float()
    with torch.inference_mode():
        pixels = vae.decode(latents).sample[0].permute(1, 2, 0) * 127.5 + 127.5
    decoded = Image.fromarray(pixels.clamp(0, 255).byte().numpy())
    assert psnr(cat, decoded) > 20


def test_safetensors__feed_a_vae_and_an_img2img_pipeline(latent, kl_folder):  # noqa: F811
    """Stable Diffusion without its text encoder: embeddings of the prompt are given."""
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionImg2ImgPipeline,
        UNet2DConditionModel,
    )

    vae = AutoencoderKL.from_pretrained(kl_folder, low_cpu_mem_usage=False)
    latents = load(latent.safetensors())["latents"].float()
    with torch.inference_mode():
        assert vae.decode(latents / vae.config.scaling_factor).sample.shape == (1, 3, 128, 128)
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=2,
        cross_attention_dim=8,
    )
    pipeline = StableDiffusionImg2ImgPipeline(
        vae=vae,
        text_encoder=None,
        tokenizer=None,
        unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    prompt = torch.zeros(1, 4, 8)
    out = pipeline(
        prompt_embeds=prompt,
        negative_prompt_embeds=prompt,
        image=latents,
        strength=0.5,
        num_inference_steps=2,
    )
    assert out.images[0].size == (128, 128)


def test_safetensors__from_the_command_line(latent, cat, tmp_path, monkeypatch):
    source, target = tmp_path / "cat.limg", tmp_path / "cat.safetensors"
    source.write_bytes(codec.encode(cat))
    monkeypatch.setattr(sys, "argv", ["codec", "decode", str(source), str(target)])
    assert main() == 0
    assert target.read_bytes() == latent.safetensors()
