"""Latent denoisers: the bundled one, and a Stable Diffusion 1.x pipeline of random weights."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from django_latentimg import codec
from django_latentimg.codec import Latent, ModelError, denoise
from django_latentimg.codec.denoise import load_denoiser, windows
from django_latentimg.codec.models import load_model
from tests.codec.test_codec import photograph, psnr
from tests.conftest import picture, shared

SCHEDULE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


@pytest.fixture(scope="module")
def cat() -> Image.Image:
    return photograph("chelsea.png").crop((96, 32, 352, 288))


def save_unet(folder, **options) -> None:
    """A ``UNet2DConditionModel``, tiny in width, random in weights."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    sizes = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
    blocks = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    options = {"cross_attention_dim": 8, "attention_head_dim": 2, **options}
    UNet2DConditionModel(**sizes, **blocks, **options).save_pretrained(folder)


def save_pipeline(folder, prediction: str = "epsilon") -> str:
    """What a Stable Diffusion 1.x pipeline keeps, as far as a denoiser reads it."""
    from diffusers import PNDMScheduler
    from transformers import CLIPTextConfig, CLIPTextModel

    save_unet(folder / "unet")
    PNDMScheduler(**SCHEDULE, skip_prk_steps=True, prediction_type=prediction).save_pretrained(
        folder / "scheduler"
    )
    (folder / "tokenizer").mkdir()
    words = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}
    settings = {"model_max_length": 7, "pad_token": "<|endoftext|>"}
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(words))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(settings))
    sizes = {"hidden_size": 8, "intermediate_size": 8, "max_position_embeddings": 7}
    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    layers = {"num_hidden_layers": 1, "num_attention_heads": 2}
    configuration = CLIPTextConfig(vocab_size=3, **sizes, **special, **layers)
    CLIPTextModel(configuration).save_pretrained(folder / "text_encoder")
    return str(folder)


@pytest.fixture
def pipeline(tmp_path, monkeypatch) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return save_pipeline(tmp_path / "pipeline")


def noisy(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    latents = random.normal(size=(4, height, width)).astype(np.float32)
    return latents, np.zeros((8, height, width), np.float32)


# The bundled denoiser


def test_bundled__brings_rounded_latents_nearer_to_the_clean_ones(cat):
    blob = codec.encode(cat, quality=35)
    latent = Latent.from_bytes(blob)
    clean = load_model("lite").encode(np.asarray(cat))
    denoised = load_denoiser("bundled").denoise(latent.rounded(), latent.hints(), step=latent.step)
    assert denoised.dtype == np.float32
    errors = [np.square(z - clean).mean() for z in (latent.rounded(), latent.latents(), denoised)]
    assert errors[2] < errors[1] < errors[0]


def test_bundled__brings_a_dithered_palette_nearer_to_the_clean_ones(cat):
    latent = Latent.from_bytes(codec.encode(cat, quantizer="palette"))
    clean = load_model("lite").encode(np.asarray(cat))
    denoised = load_denoiser("bundled").denoise(latent.rounded(), latent.hints(), step=latent.step)
    assert np.square(denoised - clean).mean() < np.square(latent.rounded() - clean).mean()


def test_bundled__helps_a_decoder_that_never_saw_quantised_latents(cat):
    taesd = str(shared("models/taesd"))
    for options, gain in (({"quality": 35}, 1.0), ({"quantizer": "palette"}, 0.2)):
        blob = codec.encode(cat, model=taesd, **options)
        latent = Latent.from_bytes(blob)
        plain = Image.fromarray(load_model(taesd).decode(latent.rounded()))
        denoised = codec.decode(blob, model=taesd, denoiser="bundled")
        assert psnr(cat, denoised) > psnr(cat, plain) + gain, options


def test_bundled__gives_the_decoder_no_hints_and_no_step(monkeypatch):
    blob = codec.encode(picture(70, 50))
    model, given = load_model("lite"), []
    decode = model.decode
    monkeypatch.setattr(
        model, "decode", lambda *a, **options: given.append((a, options)) or decode(*a, **options)
    )
    assert codec.decode(blob, denoiser="bundled", width=20).size == (20, 14)
    (_, hints), options = given[0]
    assert not hints.any()
    assert options["step"] == 0


def test_bundled__is_half_precision_and_a_few_megabytes():
    from safetensors import safe_open

    path = denoise.BUNDLED_FOLDER / "diffusion_pytorch_model.safetensors"
    assert path.stat().st_size < 6e6
    with safe_open(path, "pt") as stored:
        assert {stored.get_tensor(key).dtype for key in stored.keys()} == {torch.float16}  # noqa: SIM118


def test_bundled__from_the_command_line(tmp_path):
    (tmp_path / "a.limg").write_bytes(codec.encode(picture()))
    command = [sys.executable, "-m", "django_latentimg.codec", "decode", tmp_path / "a.limg"]
    target = tmp_path / "a.png"
    subprocess.run([*command, target, "--denoiser", "bundled"], check=True)
    with Image.open(target) as decoded:
        assert decoded.size == (96, 64)
    wrong = subprocess.run(
        [*command, target, "--denoiser", str(tmp_path)], capture_output=True, text=True
    )
    assert wrong.returncode == 1
    assert "ModelError" in wrong.stderr


# Timesteps


@pytest.mark.parametrize(("noise", "low", "high"), [(0.3, 78, 92), (0.12, 15, 30), (0.0, 0, 0)])
def test_timestep__follows_from_the_noise(noise, low, high):
    denoiser = load_denoiser("bundled")
    assert low <= denoiser.timestep(noise) <= high


def test_timestep__is_the_one_that_the_network_is_told(pipeline, monkeypatch):
    denoiser, told = load_denoiser(pipeline), []
    forward = denoiser.network.forward

    def listen(sample, timestep, **options):
        told.append((float(sample.std()), timestep, options["encoder_hidden_states"].shape))
        return forward(sample, timestep, **options)

    monkeypatch.setattr(denoiser.network, "forward", listen)
    latents, hints = noisy(16, 16)
    denoiser.denoise(latents, hints, step=0.3 * 12**0.5)
    deviation, timestep, prompt = told[0]
    assert timestep == denoiser.timestep(0.3)
    assert deviation == pytest.approx(float(latents.std()) * denoiser.signal[timestep], rel=1e-3)
    assert prompt == (1, 7, 8)


# Pipelines


@pytest.mark.parametrize("size", [(16, 16), (13, 7)])
def test_pipeline__shapes_and_dtype(pipeline, size):
    latents, hints = noisy(*size)
    result = load_denoiser(pipeline).denoise(latents, hints, step=0.5)
    assert (result.shape, result.dtype) == (latents.shape, np.float32)
    assert np.isfinite(result).all()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_pipeline__prediction_types(prediction, tmp_path, monkeypatch):
    denoiser = load_denoiser(save_pipeline(tmp_path / "pipeline", prediction))
    latents, hints = noisy(16, 16)
    timestep = denoiser.timestep(0.75 / 12**0.5)
    signal, noise = denoiser.signal[timestep], denoiser.noise[timestep]
    with torch.inference_mode():
        x = torch.from_numpy(latents)[None] * signal.astype(np.float32)
        output = denoiser.network(x, timestep, encoder_hidden_states=denoiser.prompt).sample
    expected = {
        "epsilon": (x - signal * noise * output) / signal,
        "v_prediction": signal * x - signal * noise * output,
        "sample": output,
    }[prediction]
    result = denoiser.denoise(latents, hints, step=0.75)
    assert np.allclose(result, expected[0].numpy(), atol=1e-4)


def test_pipeline__of_an_unconditional_unet(tmp_path):
    from diffusers import DDPMScheduler, UNet2DModel

    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    sizes = {"block_out_channels": (8, 8), "layers_per_block": 1, "norm_num_groups": 4}
    unet = UNet2DModel(in_channels=4, out_channels=4, add_attention=False, **blocks, **sizes)
    unet.save_pretrained(tmp_path)
    DDPMScheduler(**SCHEDULE).save_pretrained(tmp_path)
    latents, hints = noisy(9, 10)
    result = load_denoiser(str(tmp_path)).denoise(latents, hints, step=0.5)
    assert result.shape == latents.shape


def test_prompt__is_computed_once(pipeline, tmp_path, monkeypatch):
    from transformers import CLIPTextModel

    first = load_denoiser(pipeline).prompt
    assert (tmp_path / "pipeline" / denoise.PROMPT_FILE).exists()
    assert not (tmp_path / "cache").exists()
    denoise._load.cache_clear()
    monkeypatch.setattr(CLIPTextModel, "from_pretrained", lambda *a, **b: pytest.fail("loaded"))
    assert torch.equal(load_denoiser(pipeline).prompt, first)


def test_prompt__of_a_folder_that_cannot_be_written_is_in_the_users_cache(
    pipeline, tmp_path, monkeypatch
):
    write = Path.write_bytes

    def refuse(path, data):
        if path.parent == tmp_path / "pipeline":  # A test may run as root, who may write anywhere.
            raise PermissionError(path)
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", refuse)
    load_denoiser(pipeline)
    assert not (tmp_path / "pipeline" / denoise.PROMPT_FILE).exists()
    assert len(list((tmp_path / "cache" / "django-latentimg").glob("*.safetensors"))) == 1


# Tiles


@pytest.mark.parametrize("length", [1, 96, 97, 128, 160, 161, 400])
def test_windows__cover_the_length(length):
    starts = windows(length)
    assert starts[0] == 0
    assert max(starts[-1] + denoise.WINDOW, length) == max(length, denoise.WINDOW)
    for one, other in itertools.pairwise(starts):
        assert 0 < other - one <= denoise.WINDOW - denoise.OVERLAP


def test_bundled__windows_join_without_a_seam(monkeypatch):
    denoiser = load_denoiser("bundled")
    cat = photograph("chelsea.png").crop((0, 0, 448, 296))
    latent = Latent.from_bytes(codec.encode(cat, quality=35))
    planes = latent.rounded(), latent.hints()
    whole = denoiser.denoise(*planes, step=latent.step)
    monkeypatch.setattr(denoise, "WINDOW", 32)
    monkeypatch.setattr(denoise, "OVERLAP", 16)
    tiled = denoiser.denoise(*planes, step=latent.step)
    removed = np.square(whole - latent.latents()).mean()
    assert np.square(tiled - whole).mean() < removed / 4


def test_bundled__never_sees_more_than_a_window(monkeypatch):
    denoiser, seen = load_denoiser("bundled"), []
    estimate = denoiser._estimate
    monkeypatch.setattr(
        denoiser, "_estimate", lambda planes, t: seen.append(planes.shape) or estimate(planes, t)
    )
    latents, hints = noisy(99, 170)
    assert denoiser.denoise(latents, hints, step=0.5).shape == (4, 99, 170)
    assert set(seen) == {(1, 12, 96, 96)}


# Denoisers that cannot be loaded


@pytest.mark.filterwarnings("ignore:.*local_dir_use_symlinks")
def test_load_denoiser__of_an_unknown_name_says_what_to_do():
    with pytest.raises(ModelError, match=r"'bundled'.*Stable Diffusion 1\.x.*folder"):
        codec.decode(codec.encode(picture()), denoiser="nobody/has-this-denoiser")


def test_decode__of_another_latent_space_takes_no_denoiser():
    blob = codec.encode(picture(), model="compact")
    with pytest.raises(ModelError, match=r"'compact1'.*Stable Diffusion.*Leave"):
        codec.decode(blob, denoiser="bundled")


def test_load_denoiser__of_other_channels_is_refused(tmp_path):
    save_unet(tmp_path / "unet", in_channels=9)
    with pytest.raises(ModelError, match=r"\(9, 4\).*Stable Diffusion 1\.x"):
        load_denoiser(str(tmp_path))


def test_load_denoiser__of_another_class_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderTiny"}')
    with pytest.raises(ModelError, match="AutoencoderTiny"):
        load_denoiser(str(tmp_path))


def test_load_denoiser__of_a_prompt_that_does_not_fit_is_refused(pipeline, tmp_path):
    save_unet(tmp_path / "pipeline" / "unet", cross_attention_dim=12)
    with pytest.raises(ModelError, match="12"):
        load_denoiser(pipeline)


def test_load_denoiser__without_a_part_says_what_to_do(tmp_path):
    save_unet(tmp_path / "unet")
    with pytest.raises(ModelError, match="scheduler"):
        load_denoiser(str(tmp_path))


@pytest.mark.parametrize("missing", ["torch", "diffusers"])
def test_load_denoiser__without_the_extra_says_what_to_install(missing, monkeypatch):
    denoise._load.cache_clear()
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModelError, match=r"django-latentimg\[worker\]"):
        load_denoiser("bundled")


def test_prompt__without_transformers_says_what_to_install(pipeline, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match="install transformers"):
        load_denoiser(pipeline)
