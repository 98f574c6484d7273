"""Ours beside its peers: ``make benchmark-codec``, or ``python -m benchmarks.codec [FOLDER]``.

For every photograph of FOLDER (default: Kodak), whole and its centre of 512×512 pixels, every
codec at every point of its curve. Writes into ``benchmarks/results``: ``codec.csv``, one row for
each file; ``codec.md``, Bjøntegaard rates and what stands at equal bytes; ``codec-*.svg``, curves.
A row that the CSV has already, made by the same version, is not measured again; so a run that was
cut off goes on, and after new weights only ours is measured anew. Whoever changes a measure
deletes the CSV.
"""

import argparse
import csv
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .bjontegaard import Curve, at_rate, delta_rate, rate_at
from .codecs import Codec, all_codecs
from .lite_model import RESULTS
from .metrics import (
    Lpips,
    Pixels,
    centre_crop,
    flat_psnr,
    ms_ssim,
    psnr,
    ssimulacra2,
    texture,
)

KEY = ("view", "picture", "codec", "parameter", "version")
MEASURES = {
    "psnr": "PSNR",
    "ms_ssim": "MS-SSIM",
    "ssimulacra2": "SSIMULACRA2",
    "lpips": "LPIPS",
    "texture": "texture",
    "flat_psnr": "PSNR, flat blocks",
}
SMALLER_IS_BETTER = ("lpips", "texture")
LOW, HIGH = 0.05, 0.25
"""Bits per pixel of the Bjøntegaard rates."""
ANCHORS = ("WebP m6", "AVIF s4")

Row = dict[str, str]


def read(path: Path) -> Pixels:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


VIEWS: dict[str, Callable[[Path], Pixels]] = {"crop": centre_crop, "full": read}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", nargs="?", default="../shared/photos/kodak", type=Path)
    arguments.add_argument("--shared", default="../shared", type=Path)
    arguments.add_argument("--views", default="crop,full")
    arguments.add_argument("--limit", type=int, help="photographs")
    arguments.add_argument("--processes", type=int, default=os.cpu_count())
    arguments.add_argument("--report-only", action="store_true", help="measure nothing")
    given = arguments.parse_args()

    taesd = str(given.shared / "models/taesd")
    codecs = all_codecs(taesd)
    paths = sorted(p for p in given.folder.iterdir() if p.suffix in (".png", ".webp"))
    table = RESULTS / "codec.csv"
    rows = load(table)
    if not given.report_only:
        tasks = []
        for view in given.views.split(","):
            for path in paths[: given.limit]:
                of_picture = {key: row for key, row in rows.items() if key[:2] == (view, path.stem)}
                tasks.append((view, path, of_picture))
        # A process for every core, each with one thread: most measures know no threads.
        with multiprocessing.get_context("spawn").Pool(
            given.processes, prepare_process, (taesd, given.shared / "metrics/lpips_squeeze")
        ) as pool:
            for view, path, of_picture in pool.imap_unordered(measure_in_process, tasks):
                rows = {key: row for key, row in rows.items() if key[:2] != (view, path.stem)}
                rows |= of_picture
                save(table, sorted(rows.values(), key=lambda row: (row["view"], row["picture"])))
                print(view, path.stem, flush=True)
    versions = {codec.name: codec.version for codec in codecs}
    current = [row for row in rows.values() if versions.get(row["codec"]) == row["version"]]
    times = [time_table(codecs, paths[0], view) for view in given.views.split(",")]
    report(current, times)


_tools: list[Any] = []
"""Of this process: codecs, LPIPS."""


def prepare_process(taesd: str, lpips: Path) -> None:
    import torch

    torch.set_num_threads(1)
    _tools[:] = all_codecs(taesd), Lpips(lpips)


def measure_in_process(
    task: tuple[str, Path, dict[tuple[str, ...], Row]],
) -> tuple[str, Path, dict[tuple[str, ...], Row]]:
    view, path, rows = task
    codecs, lpips = _tools
    measure_picture(view, path, codecs, lpips, rows)
    return view, path, rows


def load(table: Path) -> dict[tuple[str, ...], Row]:
    if not table.exists():
        return {}
    with table.open(newline="") as source:
        return {tuple(row[name] for name in KEY): row for row in csv.DictReader(source)}


def save(table: Path, rows: Iterable[Row]) -> None:
    rows = list(rows)
    fresh = table.with_suffix(".new")
    with fresh.open("w", newline="") as target:
        writer = csv.DictWriter(target, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(fresh, table)


def measure_picture(
    view: str, path: Path, codecs: list[Codec], lpips: Lpips, rows: dict[tuple[str, ...], Row]
) -> None:
    """Add the rows of one photograph that are not there yet."""
    rgb = VIEWS[view](path)
    for codec in codecs:
        for parameter in codec.parameters:
            key = (view, path.stem, codec.name, f"{parameter:g}", codec.version)
            if key in rows:
                continue
            data = codec.encode(rgb, parameter)
            decoded = codec.decode(data)
            values = {
                "bytes": str(len(data)),
                "bpp": f"{8 * len(data) / (rgb.shape[0] * rgb.shape[1]):.5f}",
                "psnr": f"{psnr(rgb, decoded):.3f}",
                "ms_ssim": f"{ms_ssim(rgb, decoded):.5f}",
                "ssimulacra2": f"{ssimulacra2(rgb, decoded):.2f}",
                "lpips": f"{lpips(rgb, decoded):.4f}",
                "texture": f"{texture(rgb, decoded):.3f}",
                "flat_psnr": f"{flat_psnr(rgb, decoded):.3f}",
            }
            # Other versions' rows of the same file are out of date.
            for old in [other for other in rows if other[:-1] == key[:-1]]:
                del rows[old]
            rows[key] = dict(zip(KEY, key, strict=True)) | values


def mean_curve(rows: list[Row], view: str, codec: str, measure: str) -> Curve:
    """Means over the pictures at every parameter of a codec."""
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row["view"] == view and row["codec"] == codec:
            point = float(row["bpp"]), float(row[measure])
            points.setdefault(row["parameter"], []).append(point)
    return [tuple(np.nanmean(np.array(of), axis=0).tolist()) for of in points.values()]


def time_table(codecs: list[Codec], path: Path, view: str) -> str:
    """Measured anew in every run, because times of different runs cannot be compared."""
    rgb = VIEWS[view](path)
    seconds = {}
    for codec in codecs:
        data = codec.encode(rgb, middle(codec))
        seconds[codec.name] = (
            fastest(lambda codec=codec: codec.encode(rgb, middle(codec))),
            fastest(lambda codec=codec, data=data: codec.decode(data)),
        )
    anchor = seconds["AVIF s4"]
    lines = [
        f"Times for {path.stem} ({view}), each the best of three, as ratios to AVIF s4's "
        f"{1000 * anchor[0]:.0f} ms to encode and {1000 * anchor[1]:.1f} ms to decode.\n",
        "| codec | encode | decode |",
        "| --- | --- | --- |",
    ]
    for name, times in seconds.items():
        cells = [f"{a / b:.3g}" for a, b in zip(times, anchor, strict=True)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def middle(codec: Codec) -> float:
    return codec.parameters[len(codec.parameters) // 2]


def fastest(work: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def report(rows: list[Row], times: list[str]) -> None:
    views = [view for view in VIEWS if any(row["view"] == view for row in rows)]
    parts = ["## Times\n", *times]
    for view in views:
        pictures = len({row["picture"] for row in rows if row["view"] == view})
        parts.append(f"## {view}, {pictures} photographs\n")
        anchors = (*ANCHORS, *whole_curves(rows, view))
        parts += [bjontegaard_table(rows, view, anchor) for anchor in anchors]
        parts += [quality_rates_table(rows, view, each) for each in whole_curves(rows, view)]
        parts += [equal_bytes_table(rows, view, anchor) for anchor in ANCHORS]
        parts += [quality_table(rows, view), points_table(rows, view)]
        plot(rows, view, RESULTS / f"codec-{view}.svg")
    text = "\n".join(parts)
    (RESULTS / "codec.md").write_text(text)
    print(text)


def names(rows: list[Row], view: str) -> list[str]:
    return list(dict.fromkeys(row["codec"] for row in rows if row["view"] == view))


def whole_curves(rows: list[Row], view: str) -> list[str]:
    """Of the lite model, beside which the other bundled one is to be seen."""
    lite = [name for name in names(rows, view) if name.startswith("latentimg effort ")]
    return [name for name in lite if len(mean_curve(rows, view, name, "psnr")) > 1]


def percent(change: float | None) -> str:
    return "–" if change is None else f"{100 * change:+.0f} %"


def bjontegaard_table(rows: list[Row], view: str, anchor: str) -> str:
    lines = [
        f"Bjøntegaard rate against {anchor}, {LOW} to {HIGH} bpp; negative is fewer bytes at equal "
        "measure. `–`: the curves have no measure in common.\n",
        "| codec | " + " | ".join(MEASURES.values()) + " |",
        "| --- |" + " --- |" * len(MEASURES),
    ]
    for codec in names(rows, view):
        cells = []
        for measure in MEASURES:
            curves = [mean_curve(rows, view, each, measure) for each in (anchor, codec)]
            if len(curves[1]) < 2 or codec == anchor:
                break
            change = delta_rate(curves[0], curves[1], low=LOW, high=HIGH)
            cells.append(percent(change))
        if cells:
            lines.append(f"| {codec} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def quality_rates_table(rows: list[Row], view: str, anchor: str) -> str:
    """A rate over a whole curve hides what happens at its ends."""
    lines = [
        f"The same at each quality: bytes beside those of {anchor} at equal measure, from curves "
        "through the means.\n",
        "| codec | quality | " + " | ".join(MEASURES.values()) + " |",
        "| --- | --- |" + " --- |" * len(MEASURES),
    ]
    curves = {measure: mean_curve(rows, view, anchor, measure) for measure in MEASURES}
    for codec in names(rows, view):
        if not codec.startswith("latentimg") or codec == anchor:
            continue
        points = {measure: mean_curve(rows, view, codec, measure) for measure in MEASURES}
        qualities = dict.fromkeys(
            row["parameter"] for row in rows if (row["view"], row["codec"]) == (view, codec)
        )
        for number, quality in enumerate(qualities):
            cells = []
            for measure, curve in curves.items():
                rate, value = points[measure][number]
                same = rate_at(curve, value)
                cells.append(percent(same and rate / same - 1))
            lines.append(f"| {codec} | {quality} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def equal_bytes_table(rows: list[Row], view: str, anchor: str) -> str:
    """Each of our files beside what the anchor makes of the same picture in as many bytes."""
    lines = [
        f"Quality 50 beside {anchor} at the same bytes, picture by picture; mean of ours / mean of "
        f"{anchor} (pictures on which ours is better, of those that {anchor}'s curve reaches).\n",
        "| codec | " + " | ".join(MEASURES.values()) + " |",
        "| --- |" + " --- |" * len(MEASURES),
    ]
    curves: dict[tuple[str, str], Curve] = {}
    for row in rows:
        if row["view"] == view and row["codec"] == anchor:
            for measure in MEASURES:
                point = float(row["bpp"]), float(row[measure])
                curves.setdefault((row["picture"], measure), []).append(point)
    for codec in names(rows, view):
        ours = [
            row
            for row in rows
            if row["view"] == view and row["codec"] == codec and row["parameter"] == "50"
        ]
        if not codec.startswith("latentimg") or not ours:
            continue
        cells = []
        for measure in MEASURES:
            pairs = [
                (float(row[measure]), at_rate(curves[row["picture"], measure], float(row["bpp"])))
                for row in ours
            ]
            known = [(a, b) for a, b in pairs if b is not None and not np.isnan([a, b]).any()]
            sign = -1 if measure in SMALLER_IS_BETTER else 1
            wins = sum(sign * a > sign * b for a, b in known)
            means = np.mean(known, axis=0) if known else (np.nan, np.nan)
            cells.append(f"{means[0]:.4g} / {means[1]:.4g} ({wins} of {len(known)})")
        lines.append(f"| {codec} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def quality_table(rows: list[Row], view: str) -> str:
    """Our scale beside WebP's and AVIF's, by mean SSIMULACRA2."""

    def of(codec: str, parameter: str) -> list[float]:
        return [
            float(row["ssimulacra2"])
            for row in rows
            if (row["view"], row["codec"], row["parameter"]) == (view, codec, parameter)
        ]

    def parameters(codec: str) -> list[str]:
        named = {row["parameter"] for row in rows if row["codec"] == codec}
        return sorted(named, key=float)

    def same(peer: str, value: float) -> str:
        scale = [
            (float(np.mean(of(peer, p))), float(p), float(np.std(of(peer, p))))
            for p in parameters(peer)
        ]
        means, qualities, deviations = zip(*sorted(scale), strict=True)
        if not means[0] <= value <= means[-1]:
            return f"below {qualities[0]:g}" if value < means[0] else f"above {qualities[-1]:g}"
        deviation = np.interp(value, means, deviations)
        return f"{np.interp(value, means, qualities):.0f} (± {deviation:.1f})"

    lines = [
        "What a quality of ours gives in SSIMULACRA2, mean and standard deviation over the "
        "pictures, and the peers' quality of the same mean, with their deviation.\n",
        "| codec | quality | SSIMULACRA2 | ± | " + " | ".join(ANCHORS) + " |",
        "| --- |" + " --- |" * (3 + len(ANCHORS)),
    ]
    for codec in names(rows, view):
        if not codec.startswith("latentimg") or len(parameters(codec)) < 2:
            continue
        for parameter in parameters(codec):
            values = of(codec, parameter)
            mean = float(np.mean(values))
            cells = [f"{mean:.1f}", f"{np.std(values):.1f}", *(same(p, mean) for p in ANCHORS)]
            lines.append(f"| {codec} | {parameter} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def points_table(rows: list[Row], view: str) -> str:
    lines = [
        "Means at every point.\n",
        "| codec | parameter | bytes | bpp | " + " | ".join(MEASURES.values()) + " |",
        "| --- |" + " --- |" * (len(MEASURES) + 3),
    ]
    of_view = [row for row in rows if row["view"] == view]
    for codec, parameter in dict.fromkeys((row["codec"], row["parameter"]) for row in of_view):
        mean = {
            column: float(
                np.nanmean(
                    [
                        float(row[column])
                        for row in of_view
                        if (row["codec"], row["parameter"]) == (codec, parameter)
                    ]
                )
            )
            for column in ("bytes", "bpp", *MEASURES)
        }
        cells = [f"{mean['bytes']:,.0f}", f"{mean['bpp']:.3f}"]
        cells += [f"{mean[measure]:.4g}" for measure in MEASURES]
        lines.append(f"| {codec} | {parameter} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(rows: list[Row], view: str, target: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "benchmarks"  # Equal rows, equal bytes.
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(15, 9), constrained_layout=True)
    colours = plt.get_cmap("tab20")  # Ten would not do for all codecs.
    for axis, (measure, title) in zip(axes.flat, MEASURES.items(), strict=True):
        for number, codec in enumerate(names(rows, view)):
            curve = sorted(mean_curve(rows, view, codec, measure))
            bold = codec.startswith("latentimg")
            axis.plot(
                *zip(*curve, strict=True),
                marker="o" if bold else ".",
                linewidth=2 if bold else 1,
                linestyle="-" if len(curve) > 1 else "",
                label=codec,
                color=colours(number),
            )
        axis.set_xlim(0.03, 0.4)
        axis.set_xscale("log")
        axis.set_xticks([0.05, 0.1, 0.2, 0.4], ["0.05", "0.1", "0.2", "0.4"])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.set_title(title)
        axis.set_xlabel("bits per pixel")
        if measure in SMALLER_IS_BETTER:
            axis.invert_yaxis()
    figure.legend(
        *axes.flat[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=7,
        frameon=False,
    )
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
