"""Latent models: the bundled one, TAESD, and an ``AutoencoderKL`` of random weights."""

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.metrics import grain, repeated_error
from django_latentimg import codec
from django_latentimg.codec import ModelError, models
from django_latentimg.codec.models import SCALING_FACTOR, load_model, spans
from tests.codec.test_codec import photograph, psnr
from tests.conftest import picture, shared


@pytest.fixture(scope="module")
def kl_folder(tmp_path_factory) -> str:
    """A Stable Diffusion 1.x VAE in shape, tiny in width, random in weights."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    model = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=64,
        scaling_factor=SCALING_FACTOR,
    )
    folder = tmp_path_factory.mktemp("kl")
    model.save_pretrained(folder)
    return str(folder)


def pixels(width: int, height: int) -> np.ndarray:
    return np.asarray(picture(width, height))


# Tiles


@pytest.mark.parametrize("length", [1, 128, 160, 161, 300, 1000])
def test_spans__cover_the_length_with_margins(length):
    parts = spans(length, 16)
    assert parts[0].start == 0
    assert parts[-1].stop == length
    for one, other in itertools.pairwise(parts):
        assert one.stop == other.start
    for part in parts:
        assert part.outer_start == (0 if len(parts) == 1 else max(0, part.start - 16))
        assert part.outer_stop == (length if len(parts) == 1 else min(length, part.stop + 16))


PRECISIONS = [False, True] if models.multiplies_bfloat16(torch.device("cpu")) else [False]
"""``bfloat16`` of a model on this processor: emulated, it would take minutes and never be used."""


@pytest.mark.parametrize("bfloat16", PRECISIONS)
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("tile", [16, 27])
def test_lite__tiles_decode_to_the_bits_of_the_whole(scale, tile, bfloat16, monkeypatch):
    model = load_model("lite")
    monkeypatch.setattr(model, "bfloat16", bfloat16)
    latents = np.random.default_rng(0).normal(size=(4, 90, 75)).astype(np.float32)
    monkeypatch.setattr(models, "TILE", 90)
    hints = np.random.default_rng(1).normal(size=(8, 90, 75)).astype(np.float32)
    whole = model.decode(latents, hints, step=0.5, scale=scale)
    monkeypatch.setattr(models, "TILE", tile)
    assert len(spans(90, model.margin)) > 2  # So that there are some without an edge.
    assert len(spans(75, model.margin)) > 1
    tiled = model.decode(latents, hints, step=0.5, scale=scale)
    if bfloat16 and torch.cpu._is_amx_tile_supported():
        # AMX sums in an order of its own for some sizes of a tile.
        difference = np.abs(tiled.astype(int) - whole)
        assert difference.max() <= 2
        assert (difference > 0).mean() < 0.05
    else:
        assert np.array_equal(tiled, whole)


@pytest.mark.parametrize("bfloat16", PRECISIONS)
def test_lite__encodes_tiles_to_the_bits_of_the_whole(bfloat16, monkeypatch):
    model, rgb = load_model("lite"), pixels(480, 320)
    monkeypatch.setattr(model, "bfloat16", bfloat16)
    whole = model.encode(rgb)
    monkeypatch.setattr(models, "TILE", 16)
    assert len(spans(60, model.margin)) > 2
    assert np.array_equal(model.encode(rgb), whole)


def test_lite__bfloat16_hardly_differs(monkeypatch):
    model = load_model("lite")
    rgb = np.asarray(photograph("chelsea.png").crop((96, 32, 352, 288)))
    latents, decoded = [], []
    for bfloat16 in (False, True):
        monkeypatch.setattr(model, "bfloat16", bfloat16)
        latents.append(model.encode(rgb))
        decoded.append(model.decode(np.round(latents[0] / 0.5) * 0.5, step=0.5).astype(int))
    assert np.abs(latents[1] - latents[0]).max() < 0.1
    assert np.abs(decoded[1] - decoded[0]).max() <= 2


def test_taesd__tiles_join_without_a_seam(monkeypatch):
    model = load_model(str(shared("models/taesd")))
    latents = np.random.default_rng(0).normal(size=(4, 60, 24)).astype(np.float32)
    whole = model.decode(latents).astype(int)
    monkeypatch.setattr(models, "TILE", 12)
    tiled = model.decode(latents).astype(int)
    assert np.abs(tiled - whole).max() <= 1


# One latent space


def test_lite__shares_its_latent_space_with_taesd():
    cat = photograph("chelsea.png").crop((96, 32, 352, 288))
    taesd = str(shared("models/taesd"))
    own = psnr(cat, codec.decode(codec.encode(cat, model=taesd), model=taesd))
    for encoder, decoder in (("lite", taesd), (taesd, "lite"), ("lite", "lite")):
        blob = codec.encode(cat, model=encoder)
        assert psnr(cat, codec.decode(blob, model=decoder)) > own - 1.5, (encoder, decoder)


@pytest.mark.parametrize("name", ["astronaut.png", "chelsea.png", "coffee.png"])
def test_compact__shows_more_with_fewer_bytes(name):
    """Photographs that no weights were trained on."""
    source = photograph(name)
    lite, compact = (codec.encode(source, model=model) for model in models.BUNDLED)
    assert codec.Latent.from_bytes(compact).space == "compact1"
    assert len(compact) < 0.95 * len(lite)
    assert psnr(source, codec.decode(compact)) > psnr(source, codec.decode(lite))


@pytest.mark.parametrize("name", models.BUNDLED)
def test_bundled__decoders_leave_no_grain(name):
    """None that lies on the grid of latent pixels in every picture alike, whatever it shows."""
    model = load_model(name)
    errors = []
    for file in ("astronaut.png", "chelsea.png", "coffee.png"):
        image = photograph(file)
        rgb = np.asarray(image.crop((0, 0, image.width // 8 * 8, image.height // 8 * 8)))
        errors.append(repeated_error(rgb, model.decode(model.encode(rgb))))
    assert grain(errors) < 0.6


def test_taesd__heads_are_averages():
    model = load_model(str(shared("models/taesd")))
    latents = model.encode(pixels(64, 48))
    full = model.decode(latents).astype(float)
    quarter = model.decode(latents, scale=4)
    assert quarter.shape == (12, 16, 3)
    assert np.abs(full.reshape(12, 4, 16, 4, 3).mean((1, 3)) - quarter).max() < 3


def test_lite__is_a_diffusers_model(tmp_path):
    from django_latentimg.codec.autoencoder_lite import AutoencoderLite

    model = AutoencoderLite.from_pretrained(models.LITE_FOLDER, low_cpu_mem_usage=False)
    model.save_pretrained(tmp_path)
    again = AutoencoderLite.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    latents = torch.randn(1, 4, 6, 5)
    with torch.inference_mode():
        hints = torch.randn(1, 8, 6, 5)
        assert torch.equal(model.decode(latents, 0.5, hints), again.decode(latents, 0.5, hints))
        assert model.decode(latents, scale=4).shape == (1, 3, 12, 10)
        assert model.encode(torch.zeros(1, 3, 48, 40)).shape == (1, 4, 6, 5)


def test_lite__weights_are_half_precision_and_a_few_megabytes():
    from safetensors import safe_open

    path = models.LITE_FOLDER / "diffusion_pytorch_model.safetensors"
    assert path.stat().st_size < 10e6
    with safe_open(path, "pt") as stored:
        assert {stored.get_tensor(key).dtype for key in stored.keys()} == {torch.float16}  # noqa: SIM118


# AutoencoderKL


def test_kl__shapes_dtype_and_scaling(kl_folder):
    from diffusers import AutoencoderKL

    model, rgb = load_model(kl_folder), pixels(64, 40)
    latents = model.encode(rgb)
    assert (latents.shape, latents.dtype) == ((4, 5, 8), np.float32)
    direct = AutoencoderKL.from_pretrained(kl_folder, low_cpu_mem_usage=False)
    given = torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.inference_mode():
        mean = direct.encode(given).latent_dist.mean
        sample = direct.decode(mean).sample
    assert np.allclose(latents, mean[0].numpy() * SCALING_FACTOR, atol=1e-4)
    decoded = model.decode(latents)
    assert (decoded.shape, decoded.dtype) == ((40, 64, 3), np.uint8)
    expected = (sample[0].permute(1, 2, 0).numpy() * 127.5 + 127.5).clip(0, 255)
    assert np.abs(decoded - expected).max() <= 1


def test_kl__tiles_large_pictures(kl_folder, monkeypatch):
    model = load_model(kl_folder)
    calls = []
    network = model.network
    decoder = network.decoder.forward

    def count(*arguments, **options):
        calls.append(arguments[0].shape)
        return decoder(*arguments, **options)

    monkeypatch.setattr(network.decoder, "forward", count)
    latents = np.zeros((4, 24, 20), np.float32)
    assert model.decode(latents).shape == (192, 160, 3)
    assert len(calls) > 1
    assert model.encode(np.zeros((192, 160, 3), np.uint8)).shape == (4, 24, 20)


def test_kl__through_a_blob(kl_folder):
    source = picture(70, 50)
    blob = codec.encode(source, model=kl_folder)
    assert codec.decode(blob, model=kl_folder).size == (70, 50)
    assert codec.decode(blob, model=kl_folder, width=20).size == (20, 14)
    assert codec.Latent.from_bytes(blob).model == load_model(kl_folder).fingerprint


# Models that cannot be loaded


@pytest.mark.filterwarnings("ignore:.*local_dir_use_symlinks")
def test_load_model__of_a_missing_folder_says_what_to_do():
    with pytest.raises(ModelError, match=r"'lite'.*folder.*hub id"):
        load_model("nobody/has-this-model")


def test_load_model__of_another_latent_space_is_refused(tmp_path):
    from diffusers import AutoencoderKL

    sizes = {"block_out_channels": (4,) * 4, "norm_num_groups": 2, "layers_per_block": 1}
    blocks = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    for name, options in {
        "sd3": {"latent_channels": 16, "scaling_factor": 1.5305},
        "sdxl": {"latent_channels": 4, "scaling_factor": 0.13025},
    }.items():
        AutoencoderKL(**sizes, **blocks, **options).save_pretrained(tmp_path / name)
        with pytest.raises(ModelError, match=r"Stable Diffusion 1\.x"):
            load_model(str(tmp_path / name))


def test_load_model__of_another_class_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(ModelError, match="UNet2DModel"):
        load_model(str(tmp_path))


@pytest.mark.parametrize(("missing", "name"), [("torch", "lite"), ("diffusers", "anything")])
def test_load_model__without_the_extra_says_what_to_install(missing, name, monkeypatch):
    models._load.cache_clear()
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModelError, match=r"django-latentimg\[worker\]"):
        load_model(name)


def test_load_model__by_many_threads_at_once_is_loaded_once():
    models._load.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        loaded = set(pool.map(load_model, ["lite"] * 8))
    assert len(loaded) == 1


def test_image__of_the_right_type():
    assert isinstance(codec.decode(codec.encode(picture())), Image.Image)
