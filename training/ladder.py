"""Every version of the bundled weights, measured with its own code: ``python -m training ladder``.

A version is a commit that changed a model's weights, or the working tree if its weights are in no
commit yet: so a candidate is measured before it replaces what is bundled. Architectures and formats
have changed on the way, so the package is taken from that commit and run in a process of its own
(``ladder_version.py``); what it decodes is measured here. ``logs/ladder.csv`` keeps a row for each
photograph and step, and what is there is not measured again. Writes ``RESULTS.md`` and its
picture (``ladder_report.py``).
"""

import csv
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

from benchmarks.metrics import Lpips, Pixels, centre_crop, psnr, ssimulacra2, texture
from django_latentimg.codec.models import BUNDLED

from .ladder_report import Row, report
from .ladder_version import PARTS

ROOT = Path(__file__).parent.parent
WEIGHTS = {
    model: f"django_latentimg/codec/weights/{model}/diffusion_pytorch_model.safetensors"
    for model in BUNDLED
}
TABLE = ROOT / "training/logs/ladder.csv"

FINENESSES = (10, 25, 38, 50, 75)
"""Numbers of the quantiser's steps 1.52, 1, 0.70, 0.5 and 0.25; all versions number them alike."""
SHOWN_AT = 38

SIDE = 192
"""Pixels of a crop in the picture."""
SHOWN = {"astronaut": (136, 16), "chelsea": (112, 40), "coffee": (150, 100), "rocket": (224, 200)}
"""Photographs of scikit-image, and where their crops begin (left, top)."""


@dataclass(frozen=True)
class Version:
    weights: str
    """First 8 digits of the name that git gives the file's content."""
    commit: str | None
    """None for the working tree."""
    date: str
    """Of the commit."""
    model: str = "lite"

    @property
    def name(self) -> str:
        name = f"{self.commit[:7]}, {self.date}" if self.commit else "not committed"
        return name if self.model == "lite" else f"{self.model}, {name}"


def ladder(shared: Path, folder: Path) -> None:
    """``folder`` keeps the crops that each version made for the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = load()
    lpips = Lpips(shared / "metrics/lpips_squeeze")
    kodak = {path.stem: centre_crop(path) for path in (shared / "photos/kodak").glob("*.png")}
    found = versions()
    for version in found:
        there = {row["picture"] for row in rows if row["weights"] == version.weights}
        missing = {name: rgb for name, rgb in kodak.items() if name not in there}
        crops = folder / f"{version.weights}.png"
        if missing or not crops.exists():
            with tempfile.TemporaryDirectory() as temporary:
                made = Path(temporary)
                told = run(version, missing | ({} if crops.exists() else photographs()), made)
                if not crops.exists():
                    strip({name: decoded(made, name, SHOWN_AT) for name in SHOWN}).save(crops)
                for name, rgb in sorted(missing.items()):
                    rows += measure(version, name, rgb, made, told[name], lpips)
                    save(rows)
                    print(version.weights, name, flush=True)
    strips = {"source": strip(photographs())}
    for version in found:
        strips[version.name] = Image.open(folder / f"{version.weights}.png")
    report({version.weights: version.name for version in found}, load(), strips)


def git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def versions() -> list[Version]:
    """Model by model from the oldest to the newest, each content of the file once."""
    found: dict[str, Version] = {}
    for model, path in WEIGHTS.items():
        for line in git("log", "--reverse", "--format=%H %cs", "--", path).splitlines():
            commit, date = line.split()
            weights = git("rev-parse", f"{commit}:{path}")[:8]
            found.setdefault(weights, Version(weights, commit, date, model))
        present = git("hash-object", path)[:8]
        found.setdefault(present, Version(present, None, "", model))
    return list(found.values())


def run(version: Version, pictures: dict[str, Pixels], folder: Path) -> dict[str, dict[str, float]]:
    """Have the version make its files in ``folder``; what it told of each picture."""
    for name, rgb in pictures.items():
        Image.fromarray(rgb).save(folder / f"{name}.png", compress_level=1)
    tree = ROOT
    if version.commit:
        tree = folder / "tree"
        archive = folder / "tree.tar"
        git("archive", "--output", str(archive), version.commit, "django_latentimg")
        with tarfile.open(archive) as opened:
            opened.extractall(tree, filter="data")
    script = Path(__file__).with_name("ladder_version.py")
    subprocess.run(
        [sys.executable, "-P", script, folder, version.model, *map(str, FINENESSES)],
        check=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"},
    )
    told: dict[str, dict[str, float]] = json.loads((folder / "told.json").read_text())
    return told


_measured: dict[bytes, Row] = {}
"""By the decoded picture's digest: versions that differ in small heads decode to the same."""


def measure(
    version: Version,
    name: str,
    rgb: Pixels,
    folder: Path,
    told: dict[str, float],
    lpips: Lpips,
) -> list[Row]:
    """Rows of one photograph, one for each step."""
    rows = []
    for fineness in FINENESSES:
        ours = decoded(folder, name, fineness)
        digest = hashlib.sha256(ours.tobytes()).digest()
        if digest not in _measured:
            _measured[digest] = {
                "psnr": f"{psnr(rgb, ours):.3f}",
                "ssimulacra2": f"{ssimulacra2(rgb, ours):.2f}",
                "lpips": f"{lpips(rgb, ours):.4f}",
                "texture": f"{texture(rgb, ours):.3f}",
            }
        row = {
            "weights": version.weights,
            "picture": name,
            "fineness": str(fineness),
            "bpp": f"{8 * told[f'bytes at {fineness}'] / rgb[..., 0].size:.5f}",
        } | _measured[digest]
        if fineness == SHOWN_AT:
            for part in PARTS:
                small = np.load(folder / f"{name}-1of{part}.npy")
                size = small.shape[1], small.shape[0]
                wanted = Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS)
                row[f"psnr 1/{part}"] = f"{psnr(np.asarray(wanted), small):.3f}"
            row["decode"] = f"{told['decode seconds'] / told['AVIF seconds']:.2f}"
        rows.append(row)
    return rows


def decoded(folder: Path, name: str, fineness: int) -> Pixels:
    rgb: Pixels = np.load(folder / f"{name}-{fineness}.npy")
    return rgb


def photographs() -> dict[str, Pixels]:
    """Those of the picture."""
    folder = Path(skimage.__file__).parent / "data"
    found = {path.stem: path for path in folder.iterdir() if path.stem in SHOWN}
    return {name: centre_crop(found[name]) for name in SHOWN}


def strip(pictures: dict[str, Pixels]) -> Image.Image:
    """The crops side by side."""
    sheet = Image.new("RGB", (SIDE * len(SHOWN), SIDE))
    for number, (name, (left, top)) in enumerate(SHOWN.items()):
        crop = pictures[name][top : top + SIDE, left : left + SIDE]
        sheet.paste(Image.fromarray(crop), (SIDE * number, 0))
    return sheet


def load() -> list[Row]:
    if not TABLE.exists():
        return []
    with TABLE.open(newline="") as source:
        return list(csv.DictReader(source))


def save(rows: list[Row]) -> None:
    fresh = TABLE.with_suffix(".new")
    with fresh.open("w", newline="") as target:
        names = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(target, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    fresh.replace(TABLE)
