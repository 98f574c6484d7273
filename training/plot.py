"""The logs of the runs as one drawing: ``python -m training plot``."""

import json
from pathlib import Path
from typing import Any

LOGS = Path(__file__).parent / "logs"
TARGET = Path(__file__).parent.parent / "docs/images/training.svg"

RUNS = ("joint", "further", "perceptual", "faithful", "heads", "lite-decoder", "lite-joint")
"""One after the other: each begins with what the one before has left."""

PANELS = {
    "pixels": "L1 + MSE",
    "perceptual": "LPIPS of our own latents' pictures, × its weight",
    "distill": "distance to TAESD's latents, × its weight",
    "rate": "price of the symbols",
    "small": "small heads, × their weight",
    "learning_rate": "learning rate",
}
"""Key in a log's rows -> title. Weights differ from run to run."""

HIGHEST_RATE = 1e-3
"""No run learnt faster, and none had so small a price."""

Row = dict[str, Any]


def read(run: str) -> list[Row]:
    """A log's rows, their keys as the present program calls them."""
    rows = [json.loads(line) for line in (LOGS / f"{run}.jsonl").read_text().splitlines()]
    for row in rows:
        # At first there was no price, then both had one name and the price was what remained.
        if "learning_rate" not in row and row["rate"] <= HIGHEST_RATE:
            row["learning_rate"] = row.pop("rate")
    return rows


def curves(logs: dict[str, list[Row]], key: str) -> dict[str, tuple[list[float], list[float]]]:
    """Of each run that logged it: thousands of pictures seen since the first run, and values."""
    result: dict[str, tuple[list[float], list[float]]] = {}
    before = 0
    for run, rows in logs.items():
        points = [((before + row["images"]) / 1000, row[key]) for row in rows if key in row]
        if points:
            seen, values = zip(*points, strict=True)
            result[run] = list(seen), list(values)
        before += rows[-1]["images"]
    return result


def plot() -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "training"  # Equal logs, equal bytes.
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    figure, axes = plt.subplots(2, 3, figsize=(13, 7), constrained_layout=True)
    logs, lines = {run: read(run) for run in RUNS}, {}
    for axis, (key, title) in zip(axes.flat, PANELS.items(), strict=True):
        for run, points in curves(logs, key).items():
            (lines[run],) = axis.plot(*points, linewidth=1, color=f"C{RUNS.index(run)}")
        axis.set_title(title, fontsize=10)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
        axis.yaxis.set_minor_formatter("{x:g}" if key != "learning_rate" else "")
        axis.tick_params(which="both", labelsize=8)
        axis.set_xlim(left=0)
        axis.grid(alpha=0.3)
    for axis in axes[1]:
        axis.set_xlabel("thousands of pictures seen")
    figure.legend(
        [lines[run] for run in RUNS],
        [f"{run}.toml" for run in RUNS],
        loc="outside upper center",
        ncols=len(RUNS),
        frameon=False,
    )
    figure.savefig(TARGET, metadata={"Date": None})
    plt.close(figure)
