"""The programs of ``docs/reading-blobs.md``, run as they stand there, beside a site that runs."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from django_latentimg import codec

from .conftest import shared
from .stored import store_blob
from .testapp.models import Product

pytestmark = pytest.mark.django_db(transaction=True)

PHOTO = Product._meta.get_field("photo")
PAGE = (Path(__file__).parent.parent / "docs/reading-blobs.md").read_text()


def program(section: str, language: str) -> str:
    found = re.search(rf"## {section}\n.*?```{language}\n(.*?)```", PAGE, re.S)
    assert found, section
    assert found[1].count("\n") <= 12
    return found[1]


@pytest.fixture
def blob(live_server) -> tuple[str, bytes]:
    """(its URL, itself)"""
    row = Product.objects.create(photo=store_blob(PHOTO, "photos/llama.png"))
    with row.photo.storage.open(row.photo.stored_name) as stored:
        return live_server.url + row.photo.blob_url, stored.read()


def run(*command: str, cwd: Path) -> str:
    """Without the suite's settings."""
    environment = {key: value for key, value in os.environ.items() if "DJANGO" not in key}
    environment["PYTHONPATH"] = str(Path(__file__).parent.parent)
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def addressed(text: str, url: str) -> str:
    changed, count = re.subn(r'"https://shop\.example[^"]*"', json.dumps(url), text)
    assert count == 1
    return changed


def test_python__without_settings(blob, tmp_path):
    url, content = blob
    latent = codec.Latent.from_bytes(content)
    told = run(
        sys.executable, "-c", addressed(program("A Python script", "python"), url), cwd=tmp_path
    )
    assert f"{latent.width} {latent.height} {latent.quality} {latent.model}" in told
    assert str(latent.latents().shape) in told
    with Image.open(tmp_path / "llama.png") as opened:
        assert np.array_equal(opened, codec.decode(content, width=320))


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node in the path")
def test_node__without_a_library(blob, tmp_path):
    url, content = blob
    text = addressed(program("A Node server", "js"), url.removesuffix(".limg"))
    told = json.loads(run("node", "--input-type=module", "-e", text, cwd=tmp_path))
    latents = codec.Latent.from_bytes(content).latents()[None].astype(np.float16)
    assert told["shape"] == list(latents.shape)
    assert np.array_equal(np.array(told["latents"], np.float16), latents.ravel())


def test_diffusers__its_own_autoencoder(blob, tmp_path):
    url, content = blob
    text = addressed(program("A diffusers pipeline", "python"), url.removesuffix(".limg"))
    folder = str(shared("models/taesd"))
    text = text.replace('"madebyollin/taesd"', repr(folder))
    assert folder in text
    text += "\nimport numpy; numpy.save('picture.npy', picture.detach().numpy())\n"
    run(sys.executable, "-c", text, cwd=tmp_path)
    (planes,) = np.load(tmp_path / "picture.npy")
    levels = np.rint(planes.transpose(1, 2, 0) * 127.5 + 127.5).clip(0, 255)
    expected = codec.decode(content, model=folder)
    # The latents have travelled as float16.
    assert np.abs(levels[: expected.height, : expected.width] - expected).mean() < 0.5
