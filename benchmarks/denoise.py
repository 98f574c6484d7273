"""Denoised latents through a decoder that never saw any: ``python -m benchmarks.denoise [FOLDER]``.

For the centre 512×512 crop of every photograph in FOLDER (default: Kodak): what stock TAESD makes
of its own encoder's latents, rounded at three steps and through Bühlmann's palette, as they are,
centred by the prior's hints and denoised; beside it the bundled decoder with its own encoder's.
Writes ``benchmarks/results/denoise.csv`` and ``.md``. Rows that the CSV has already, of the same
weights, are not measured again.
"""

import argparse
import csv
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from django_latentimg.codec import palette
from django_latentimg.codec.calibration import round_trip
from django_latentimg.codec.denoise import BUNDLED_FOLDER, load_denoiser
from django_latentimg.codec.models import SD1, LatentModel, load_model
from django_latentimg.codec.quantize import dequantise, quantise
from django_latentimg.codec.rate import load_expecter

from .lite_model import RESULTS
from .metrics import Lpips, Pixels, centre_crop, psnr, ssimulacra2

STEPS = (0.5, 0.75, 1.0)
DITHERS = {"palette, not dithered": False, "palette, dithered": True}
LITE_STEP = 0.75
KEY = ("picture", "latents", "decoded", "weights")
MEASURES = ("psnr", "ssimulacra2", "lpips")

Planes = NDArray[np.float32]
Rows = dict[tuple[str, ...], dict[str, str]]
Way = tuple[str, str, str, Callable[[], Pixels]]
"""Latents, how they are decoded, digest of the weights that have a say, and the work."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", nargs="?", default="../shared/photos/kodak", type=Path)
    arguments.add_argument("--shared", default="../shared", type=Path)
    arguments.add_argument("--limit", type=int, help="photographs")
    given = arguments.parse_args()

    lpips = Lpips(given.shared / "metrics/lpips_squeeze")
    taesd = load_model(str(given.shared / "models/taesd"))
    table = RESULTS / "denoise.csv"
    rows = read(table)
    current: list[tuple[str, ...]] = []
    paths = sorted(p for p in given.folder.iterdir() if p.suffix in (".png", ".webp"))
    for path in paths[: given.limit]:
        rgb = centre_crop(path)
        for latents, decoded, weights, work in ways(rgb, taesd):
            key = path.stem, latents, decoded, weights
            current.append(key)
            if key in rows:
                continue
            picture = work()
            values = psnr(rgb, picture), ssimulacra2(rgb, picture), lpips(rgb, picture)
            rows[key] = dict(zip(KEY, key, strict=True)) | {
                name: f"{value:.4f}" for name, value in zip(MEASURES, values, strict=True)
            }
        write(table, [rows[key] for key in current])
        print(path.stem, flush=True)
    report([rows[key] for key in current])


def ways(rgb: Pixels, taesd: LatentModel) -> Iterator[Way]:
    denoiser, lite = load_denoiser("bundled"), load_model("lite")
    weights = (BUNDLED_FOLDER / "diffusion_pytorch_model.safetensors").read_bytes()
    digest = hashlib.sha256(weights).hexdigest()[:8]
    clean = taesd.encode(rgb)
    yield "never quantised", "TAESD", "", lambda: taesd.decode(clean)
    coded: list[tuple[str, Planes, Planes, float]] = []
    for step in STEPS:
        coded.append((f"step {step}", *rounded(clean, step), step))
    for name, dither in DITHERS.items():
        levels, noise = through_palette(clean, dither)
        hints = np.zeros((8, *clean.shape[1:]), np.float32)
        coded.append((name, levels, hints, noise * 12**0.5))
    for name, latents, hints, step in coded:
        yield name, "TAESD", "", lambda latents=latents: taesd.decode(latents)
        if hints.any():
            yield name, "TAESD, centred", "", lambda z=latents, h=hints: taesd.decode(z, h)
        yield (
            name, "TAESD, denoised", digest,
            lambda z=latents, h=hints, s=step: taesd.decode(denoiser.denoise(z, h, step=s)),
        )  # fmt: skip
    yield (
        f"lite's, step {LITE_STEP}", "lite", lite.fingerprint,
        lambda: round_trip(lite, lite.encode(rgb), LITE_STEP),
    )  # fmt: skip


def rounded(latents: Planes, step: float) -> tuple[Planes, Planes]:
    """float32 (4, h, w) -> the same at ``step``, and the prior's hints, float32 (8, h, w)."""
    given = dequantise(quantise(latents, step), step)
    known, steps = torch.from_numpy(given)[None], torch.tensor([step])
    expected = load_expecter(SD1, torch.device("cpu"))(known, steps)
    return given, expected.hints(known, steps)[0].numpy()


def through_palette(latents: Planes, dither: bool) -> tuple[Planes, float]:
    """float32 (4, h, w) -> the same through a palette, and its error's standard deviation."""
    data = palette.encode_palette(latents, dither=dither)
    levels, noise = palette.decode_palette(data, *latents.shape[1:])
    return palette.to_latents(levels), noise


def read(table: Path) -> Rows:
    if not table.exists():
        return {}
    with table.open(newline="") as source:
        return {tuple(row[name] for name in KEY): row for row in csv.DictReader(source)}


def write(table: Path, rows: list[dict[str, str]]) -> None:
    with table.open("w", newline="") as target:
        writer = csv.DictWriter(target, [*KEY, *MEASURES], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def report(rows: list[dict[str, str]]) -> None:
    pictures = len({row["picture"] for row in rows})
    size = sum(p.stat().st_size for p in BUNDLED_FOLDER.iterdir())
    lines = [
        f"Mean over {pictures} centre 512×512 crops of stock TAESD's decode of its own encoder's "
        "latents, and of the bundled decoder's of the bundled encoder's. Centred: each latent "
        "moved to where the prior expects it within its cell, which a palette does not allow. "
        f"Denoised: by the bundled denoiser, {size:,} bytes.",
        "",
        "| latents | decoder | PSNR dB | SSIMULACRA2 | LPIPS |",
        "| --- | --- | --- | --- | --- |",
    ]
    for latents, decoded in dict.fromkeys((row["latents"], row["decoded"]) for row in rows):
        likeness, structure, distance = (
            np.mean(
                [
                    float(row[measure])
                    for row in rows
                    if (row["latents"], row["decoded"]) == (latents, decoded)
                ]
            )
            for measure in MEASURES
        )
        lines.append(
            f"| {latents} | {decoded} | {likeness:.2f} | {structure:.1f} | {distance:.3f} |"
        )
    text = "\n".join(lines) + "\n"
    (RESULTS / "denoise.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
