"""The bundled lite model beside TAESD: ``python -m benchmarks.lite_model [FOLDER]``.

For the centre 512×512 crop of every photograph in FOLDER (default: Kodak): what each pair of
encoder and decoder keeps, without quantisation and through whole blobs; what each decoder makes
of the bundled encoder's latents at five quantiser steps; and whether a small rendition from a small
head is as good as one from a decode in full. Writes
``benchmarks/results/lite_model.csv`` and ``.md``.
"""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from django_latentimg import codec
from django_latentimg.codec.calibration import round_trip
from django_latentimg.codec.models import LITE_FOLDER, load_model

from .metrics import Lpips, Pixels, centre_crop, grain, psnr, repeated_error, ssimulacra2

STEPS = (0.25, 0.5, 0.75, 1.0, 1.5)
PARTS = (2, 4, 8)
"""Denominators of the small renditions' sizes."""

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", nargs="?", default="../shared/photos/kodak", type=Path)
    arguments.add_argument("--shared", default="../shared", type=Path)
    arguments.add_argument("--limit", type=int, help="photographs")
    arguments.add_argument("--name", default="lite_model", help="of the files of results")
    given = arguments.parse_args()

    taesd_folder = str(given.shared / "models/taesd")
    lite, taesd = load_model("lite"), load_model(taesd_folder)
    lpips = Lpips(given.shared / "metrics/lpips_squeeze")
    pairs: dict[str, Callable[[Pixels], tuple[Pixels, int]]] = {
        "TAESD > TAESD": lambda rgb: (taesd.decode(taesd.encode(rgb)), 0),
        "TAESD > lite": lambda rgb: (lite.decode(taesd.encode(rgb)), 0),
        "lite > lite": lambda rgb: (lite.decode(lite.encode(rgb)), 0),
        "lite > TAESD": lambda rgb: (taesd.decode(lite.encode(rgb)), 0),
        "blob, quality 50, lite > lite": lambda rgb: _blob(rgb, "lite", "lite"),
        "blob, quality 50, lite > TAESD": lambda rgb: _blob(rgb, "lite", taesd_folder),
        "blob, effort 4, lite > lite": lambda rgb: _blob(rgb, "lite", "lite", 4),
        "blob, effort 4, lite > TAESD": lambda rgb: _blob(rgb, "lite", taesd_folder, 4),
        "blob, quality 50, TAESD > lite": lambda rgb: _blob(rgb, taesd_folder, "lite"),
        "blob, quality 50, TAESD > TAESD": lambda rgb: _blob(rgb, taesd_folder, taesd_folder),
    }
    rows: list[dict[str, str | float]] = []
    errors: dict[str, list[NDArray[np.float64]]] = {}
    paths = sorted(p for p in given.folder.iterdir() if p.suffix in (".png", ".webp"))

    for path in paths[: given.limit]:

        def add(
            pair: str, source: Pixels, decoded: Pixels, size: int = 0, picture: str = path.stem
        ) -> None:
            errors.setdefault(pair, []).append(repeated_error(source, decoded))
            rows.append(
                {
                    "picture": picture,
                    "pair": pair,
                    "bytes": size,
                    "psnr": round(psnr(source, decoded), 3),
                    "ssimulacra2": round(ssimulacra2(source, decoded), 2),
                    "lpips": round(lpips(source, decoded), 4),
                }
            )

        rgb = centre_crop(path)
        rgb = rgb[: rgb.shape[0] // 8 * 8, : rgb.shape[1] // 8 * 8]
        for pair, through in pairs.items():
            decoded, size = through(rgb)
            add(pair, rgb, decoded, size)
        latents = lite.encode(rgb)
        for step in STEPS:
            for name, model in (("lite", lite), ("TAESD", taesd)):
                add(f"step {step}, lite > {name}", rgb, round_trip(model, latents, step))
        blob = codec.encode(Image.fromarray(rgb))
        whole = codec.decode(blob)
        for part in PARTS:
            size_of_part = whole.width // part, whole.height // part
            small = codec.decode(blob, width=size_of_part[0])
            source, shrunk = (
                np.asarray(picture.resize(size_of_part, Image.Resampling.LANCZOS))
                for picture in (Image.fromarray(rgb), whole)
            )
            add(f"1/{part}, head", source, np.asarray(small))
            add(f"1/{part}, decoded in full", source, shrunk)
        print(path.stem, flush=True)
    write(rows, {pair: grain(of_pair) for pair, of_pair in errors.items()}, given.name)


def _blob(rgb: Pixels, encoder: str, decoder: str, effort: int = 0) -> tuple[Pixels, int]:
    blob = codec.encode(Image.fromarray(rgb), model=encoder, effort=effort)
    return np.asarray(codec.decode(blob, model=decoder)), len(blob)


def write(rows: list[dict[str, str | float]], grains: dict[str, float], name: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.csv").open("w", newline="") as target:
        writer = csv.DictWriter(target, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    pictures = len({row["picture"] for row in rows})
    lines = [
        f"Mean over {pictures} centre 512×512 crops. Encoder > decoder; without `blob`, latents "
        "are not quantised. Grain: the pattern of 8×8 pixels that is in all decoded pictures, "
        "standard deviation in levels. Small renditions are of blobs of quality 50. "
        f"Weights of lite: {load_model('lite').fingerprint}, "
        f"{sum(p.stat().st_size for p in LITE_FOLDER.iterdir()):,} bytes.",
        "",
        "| encoder > decoder | bytes | PSNR dB | SSIMULACRA2 | LPIPS | grain |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for pair in dict.fromkeys(row["pair"] for row in rows):
        of_pair = [row for row in rows if row["pair"] == pair]
        size, *values = (
            float(np.mean([float(row[column]) for row in of_pair]))
            for column in ("bytes", "psnr", "ssimulacra2", "lpips")
        )
        written = f"{size:,.0f}" if size else ""
        lines.append(
            f"| {pair} | {written} | {values[0]:.2f} | {values[1]:.1f} | {values[2]:.3f} "
            f"| {grains[str(pair)]:.2f} |"
        )
    text = "\n".join(lines) + "\n"
    (RESULTS / f"{name}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
