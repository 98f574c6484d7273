"""What every effort buys: ``python -m benchmarks.effort [FOLDER]``; the worker's default is chosen
by it.

Blobs of quality 50 of photographs that training held out, at every effort. Writes
``benchmarks/results/effort.csv`` and ``.md``.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from PIL import Image

from django_latentimg import codec
from training.data import photographs

from .lite_model import RESULTS
from .metrics import Lpips, psnr, ssimulacra2

EFFORTS = range(10)
MEASURES = ("bytes", "psnr", "ssimulacra2", "lpips", "seconds")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", nargs="?", default="../shared/photos/train", type=Path)
    arguments.add_argument("--shared", default="../shared", type=Path)
    arguments.add_argument("--every", type=int, default=3, help="take one in so many photographs")
    given = arguments.parse_args()

    lpips = Lpips(given.shared / "metrics/lpips_squeeze")
    rows: list[dict[str, str | int | float]] = []
    for name in photographs(given.folder).held_out[:: given.every]:
        with Image.open(given.folder / name) as opened:
            picture = opened.convert("RGB")
        rgb = np.asarray(picture)
        for effort in EFFORTS:
            started = time.perf_counter()
            blob = codec.encode(picture, effort=effort)
            seconds = time.perf_counter() - started
            decoded = np.asarray(codec.decode(blob))
            rows.append(
                {
                    "picture": Path(name).stem,
                    "effort": effort,
                    "bytes": len(blob),
                    "psnr": round(psnr(rgb, decoded), 3),
                    "ssimulacra2": round(ssimulacra2(rgb, decoded), 2),
                    "lpips": round(lpips(rgb, decoded), 4),
                    "seconds": round(seconds, 3),
                }
            )
        print(name, flush=True)
    with (RESULTS / "effort.csv").open("w", newline="") as target:
        writer = csv.DictWriter(target, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    text = report(rows)
    (RESULTS / "effort.md").write_text(text)
    print(text)


def report(rows: list[dict[str, str | int | float]]) -> str:
    """Means, and each effort's share of the best gain in SSIMULACRA2."""
    means = {
        effort: {
            measure: float(np.mean([float(r[measure]) for r in rows if r["effort"] == effort]))
            for measure in MEASURES
        }
        for effort in EFFORTS
    }
    start = means[0]["ssimulacra2"]
    best = max(mean["ssimulacra2"] for mean in means.values()) - start
    lines = [
        f"Mean over {len({row['picture'] for row in rows})} held-out photographs, quality 50.",
        "",
        "| effort | bytes | PSNR dB | SSIMULACRA2 | of the best gain | LPIPS | time to encode |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for effort, mean in means.items():
        lines.append(
            f"| {effort} | {mean['bytes']:,.0f} | {mean['psnr']:.2f} | {mean['ssimulacra2']:.1f} | "
            f"{(mean['ssimulacra2'] - start) / best:.0%} | {mean['lpips']:.3f} | "
            f"{mean['seconds'] / means[0]['seconds']:.1f} × |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
