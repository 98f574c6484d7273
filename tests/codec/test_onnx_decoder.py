"""The bundled decoders in onnxruntime, beside torch's."""

import subprocess
import sys

import numpy as np
import pytest

from django_latentimg import codec
from django_latentimg.codec import Latent, ModelError, models
from django_latentimg.codec.models import BUNDLED, load_decoder, load_model
from django_latentimg.codec.onnx_decoder import OnnxDecoder
from tests.conftest import picture
from tests.stored import blob

WITHOUT_TORCH = """
import sys

sys.modules.update(dict.fromkeys({blocked}))  # as if they were not installed
from django_latentimg import codec
try:
    picture = codec.decode(sys.stdin.buffer.read(), width=50)
except codec.ModelError as error:
    print(error)
else:
    print(picture.size, sys.modules["torch"], "diffusers" in sys.modules)
"""


def decoder(name: str) -> OnnxDecoder:
    found = load_decoder(name, "onnxruntime")
    assert isinstance(found, OnnxDecoder)
    return found


@pytest.mark.parametrize("name", BUNDLED)
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(200, 137), (8, 8)])
def test_decode__as_torch_does_in_float32(name, monkeypatch, scale, size):
    latent = Latent.from_bytes(codec.encode(picture(*size), quality=30, model=name))
    arguments = latent.rounded(), latent.hints()
    model = load_model(name)
    monkeypatch.setattr(model, "bfloat16", False)
    expected = model.decode(*arguments, step=latent.step, scale=scale).astype(int)
    found = decoder(name).decode(*arguments, step=latent.step, scale=scale)
    assert found.shape == expected.shape
    difference = np.abs(found - expected)
    assert difference.max() <= 1
    assert difference.mean() < 0.001


@pytest.mark.parametrize("scale", [1, 4])
def test_decode__tiles_are_the_whole(monkeypatch, scale):
    random = np.random.default_rng(0)
    latents = random.normal(size=(4, 60, 70)).astype(np.float32)
    whole = decoder("lite").decode(latents, scale=scale)
    monkeypatch.setattr(models, "TILE", 16)
    # Sums are added up in an order that may depend on a tile's size.
    assert np.abs(decoder("lite").decode(latents, scale=scale).astype(int) - whole).max() <= 1


def test_decode__engine_is_what_was_asked_for():
    one, other = (codec.decode(blob(), engine=engine) for engine in ("torch", "onnxruntime"))
    assert np.abs(np.asarray(one, int) - np.asarray(other, int)).max() <= 3
    assert load_decoder("lite", "torch") is load_decoder("lite") is load_model("lite")


def test_decode__other_models_need_torch():
    with pytest.raises(ModelError, match="needs torch"):
        codec.decode(blob(), model="somebody/taesd", engine="onnxruntime")


def test_decode__chooses_the_bundled_model_of_the_blobs_space():
    """Whatever the site's own is, which it may have changed."""
    compact = codec.encode(picture(64, 40), model="compact")
    expected = [
        codec.decode(content, model=n) for content, n in ((blob(), "lite"), (compact, "compact"))
    ]
    for content, name, picture_of in zip(
        (blob(), compact), ("compact", "somebody/taesd"), expected, strict=True
    ):
        assert codec.decode(content, model=name) == picture_of


@pytest.mark.parametrize(
    ("blocked", "found"),
    [
        ({"torch"}, "(50, 33) None False"),
        ({"torch", "onnxruntime"}, "install django-latentimg[web] or django-latentimg[worker]"),
    ],
)
def test_decode__takes_what_is_installed(pytestconfig, blocked, found):
    finished = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH.format(blocked=blocked)],
        input=blob(),
        capture_output=True,
        cwd=pytestconfig.rootpath,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr.decode()
    assert found in finished.stdout.decode()
