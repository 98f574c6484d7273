"""What is built and shipped works where nothing of the repository is."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import skimage.data
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "django_latentimg"
NAME = "django-latentimg"
FOREIGN = {"tests", "training", "benchmarks", "example_project", "client"}
"""Top-level folders that no distribution may hold."""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Standard output; a failure shows all that the command printed."""
    result = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def package_files() -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An sdist of the working tree, and the wheel made of that sdist."""
    folder = tmp_path_factory.mktemp("built")
    # A copy without the leftovers of earlier builds, some of which would find their way in.
    # Of the foreign folders the code is enough to tell whether it is left out.
    tree = folder / "tree"
    shutil.copytree(
        ROOT,
        tree,
        ignore=shutil.ignore_patterns(
            ".*", "__pycache__", "*.egg-info", "build", "dist", "runs", "var", "node_modules"
        ),
    )
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, cwd=tree)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


@contextmanager
def clean_environment(requirement: str) -> Iterator[Path]:
    """The interpreter of a new virtual environment that holds ``requirement`` and no more."""
    # Not pytest's folder, which it keeps for three runs: torch alone is several hundred MB.
    with TemporaryDirectory(prefix="latentimg-clean-") as name:
        folder = Path(name)
        # The very versions that the suite runs with: pip has them in its cache, and torch is the
        # build that was chosen here.
        constraints = folder / "constraints.txt"
        versions = {found.name: found.version for found in distributions() if found.name != NAME}
        constraints.write_text("".join(f"{name}=={versions[name]}\n" for name in versions))
        python = folder / "bin" / "python"
        run(sys.executable, "-m", "venv", folder, cwd=folder)
        pip = (python, "-m", "pip", "--disable-pip-version-check", "--quiet")
        run(*pip, "install", "--no-compile", "--constraint", constraints, requirement, cwd=folder)
        yield python


@pytest.fixture(scope="module")
def web_python(built: tuple[Path, Path]) -> Iterator[Path]:
    """What a process has that serves pages and cached renditions."""
    with clean_environment(str(built[1])) as python:
        yield python


@pytest.fixture(scope="module")
def worker_python(built: tuple[Path, Path]) -> Iterator[Path]:
    """What a process has that encodes and decodes."""
    with clean_environment(f"{built[1]}[worker]") as python:
        yield python


def test_wheel__holds_the_package_and_nothing_else(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == package_files()
    assert f"{PACKAGE}/py.typed" in names
    assert any(name.startswith(f"{PACKAGE}/codec/weights/") for name in names)
    assert any(name.endswith(".safetensors") for name in names)


def test_wheel__tells_its_licence_and_extras(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        (metadata,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
        lines = wheel.read(metadata).decode().splitlines()
        licences = [name for name in wheel.namelist() if name.endswith("/licenses/LICENSE")]
    assert licences
    assert "License-Expression: MIT" in lines
    extras = {line.removeprefix("Provides-Extra: ") for line in lines if "Provides-Extra" in line}
    assert extras == {"worker", "web", "s3", "metrics", "dev"}


def test_sdist__holds_what_builds_the_package_and_no_more(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as sdist:
        files = {member.name.partition("/")[2] for member in sdist.getmembers() if member.isfile()}
    assert package_files() <= files
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"} <= files
    assert FOREIGN.isdisjoint(file.partition("/")[0] for file in files)


def test_wheel__needs_no_extra_for_the_pages_of_a_site(web_python: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.py"
    site.write_text(
        f"""
import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    INSTALLED_APPS=["{PACKAGE}"],
    SECRET_KEY="only-for-tests",
    ROOT_URLCONF="{PACKAGE}.urls",
    TEMPLATES=[{{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}}],
)
django.setup()
from {PACKAGE} import fields, urls, views
from {PACKAGE}.templatetags import latentimg
call_command("check")
"""
    )
    run(web_python, "-I", site, cwd=tmp_path)


def test_codec__without_the_extra_says_what_to_install(web_python: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.png"
    Image.new("RGB", (16, 16)).save(source)
    command = (web_python, "-I", "-m", f"{PACKAGE}.codec", "encode", source, tmp_path / "out.limg")
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode != 0
    assert f"{NAME}[worker]" in result.stderr
    assert "Traceback" not in result.stderr


def test_codec__encodes_and_decodes_with_the_bundled_model(
    worker_python: Path, tmp_path: Path
) -> None:
    photograph = skimage.data.astronaut()
    source, blob, decoded = (tmp_path / name for name in ("in.png", "out.limg", "out.png"))
    Image.fromarray(photograph).save(source)
    # -I: neither the working directory nor the environment adds to the import path.
    codec = (worker_python, "-I", "-m", f"{PACKAGE}.codec")

    run(*codec, "encode", source, blob, cwd=tmp_path, HF_HUB_OFFLINE="1")
    run(*codec, "decode", blob, decoded, cwd=tmp_path, HF_HUB_OFFLINE="1")
    info = json.loads(run(*codec, "info", blob, cwd=tmp_path))

    assert (info["width"], info["height"]) == (512, 512)
    assert blob.stat().st_size < source.stat().st_size / 20
    with Image.open(decoded) as image:
        assert image.size == (512, 512)
        error = np.asarray(image.convert("RGB"), np.float64) - photograph
    psnr = 20 * np.log10(255) - 10 * np.log10(np.mean(error**2))
    assert psnr > 18
