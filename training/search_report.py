"""``SEARCH.md`` from the log of the search; see ``search.py``."""

from collections.abc import Iterable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from .candidates import DECODERS, ENCODERS, PRIORS, Candidate
from .search import BATCH, MEASURED, SIDE, STEPS, read_log
from .search_priors import PHOTOGRAPHS
from .search_priors import STEPS as PRICED_STEPS

TARGET = Path(__file__).parent / "SEARCH.md"
MEASURES = {"psnr": ("PSNR, dB", 2), "ssimulacra2": ("SSIMULACRA2", 1), "lpips": ("LPIPS", 4)}
"""And decimals."""

Row = dict[str, Any]


def write_report() -> None:
    """Of what the log holds."""
    parts = [introduction(), *network_parts("decoder", DECODERS)]
    if read_log("encoder", "measure"):
        parts += [ENCODER_INTRODUCTION, *network_parts("encoder", ENCODERS)]
    if read_log("prior", "measure"):
        parts += [PRIOR_INTRODUCTION, prior_table()]
    TARGET.write_text("\n".join([*parts, FINDINGS]).rstrip() + "\n")


def introduction() -> str:
    trained_on = read_log("corpus", "size")[-1]["training"]
    return f"""# The search for an architecture

Written by `python -m training search` from `logs/search.jsonl`. Candidates are in `candidates.py`.

Each decoder was sized so that a picture of 512×512 pixels takes as long as with the shipped one, on
one thread, in the precision in which the package runs it. Each was trained from random weights in
the same CPU seconds, on the same batches of {BATCH} crops of {SIDE}² pixels of
{trained_on:,} photographs, from TAESD's latents, with the same loss and learning rate: L1 + MSE,
the logarithm of MSE, LPIPS; 40 % of the latents clean, the others at steps from 0.15 to 1.6. They
took turns of some seconds, so whatever else the machine did slowed all alike. Weights are the
running average. Training took
{compute()}.

Measured on {MEASURED} photographs of 320×320 that were held out. Kodak has no part in this.

## Decoders
"""


def compute() -> str:
    parts = []
    for kind in ("decoder", "encoder", "prior"):
        if trained := last_rows(kind):
            hours = sum(row["seconds"] for row in trained.values()) / 3600
            parts.append(f"{hours:.2f} core-hours for {len(trained)} {kind}s")
    return ", ".join(parts)


def last_rows(kind: str, what: str = "train") -> dict[str, Row]:
    """The latest of each candidate."""
    return {row["candidate"]: row for row in read_log(kind, what)}


def fastest_rows(kind: str) -> dict[str, Row]:
    """Of the times that each start has logged."""
    rows = sorted(read_log(kind, "time"), key=lambda row: -float(row["milliseconds"]))
    return {row["candidate"]: row for row in rows}


def network_parts(kind: str, candidates: dict[str, Candidate]) -> list[str]:
    parts = [size_table(kind, candidates)]
    rows = read_log(kind, "measure")
    own, rounded = (
        {row["candidate"]: row for row in rows if row["weights"] == weights}
        for weights in ("float", "int8")
    )
    if own:
        parts += [measure_table(own), difference_table(own)]
    if rounded:
        parts.append(rounding_table(own, rounded))
    return parts


def table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(titles), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def size_table(kind: str, candidates: dict[str, Candidate]) -> str:
    times, trained = fastest_rows(kind), last_rows(kind)
    rows = []
    for name, candidate in candidates.items():
        time, end = times[name], trained.get(name)
        rows.append(
            [
                name,
                candidate.description,
                candidate.sizes,
                f"{time['milliseconds']:.1f}",
                f"{time['milliseconds'] / times['shipped']['milliseconds']:.2f}",
                f"{time['multiply_adds']:,}",
                f"{time['parameters'] / 1e6:.2f}",
                f"{end['seconds']:.0f}" if end else "–",
                f"{end['step']:,}" if end else "–",
            ]
        )
    return (
        "Channels and blocks at 1/8, 1/4 and 1/2; milliseconds of one thread, the best of many; "
        "multiply-adds of the convolutions for each pixel.\n\n"
    ) + table(
        (
            "candidate",
            "what",
            "channels; blocks",
            "ms",
            "÷ shipped",
            "multiply-adds",
            "M parameters",
            "CPU s trained",
            "steps",
        ),
        rows,
    )


def columns(row: Row) -> dict[str, tuple[str, int]]:
    """Title and decimals of everything that was measured."""
    titles = {
        f"{measure} {step:g}": (f"{title}, {'clean' if step == 0 else f'step {step:g}'}", decimals)
        for measure, (title, decimals) in MEASURES.items()
        for step in STEPS
    }
    if "distance" in row:
        titles = {"distance": ("distance to TAESD's latents, squared", 4)} | titles
    return titles


def head(rows: dict[str, Row]) -> list[str]:
    return ["candidate", *(title for title, _ in columns(next(iter(rows.values()))).values())]


def measure_table(rows: dict[str, Row]) -> str:
    return "Means over the photographs.\n\n" + table(
        head(rows),
        (
            [name]
            + [f"{mean(row[key]):.{decimals}f}" for key, (_, decimals) in columns(row).items()]
            for name, row in rows.items()
        ),
    )


def paired(ours: list[float], theirs: list[float], decimals: int) -> str:
    """Mean difference and its standard error."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    error = stdev(differences) / len(differences) ** 0.5
    return f"{mean(differences):+.{decimals}f} ± {error:.{decimals}f}"


def difference_table(rows: dict[str, Row]) -> str:
    return (
        "Difference to the shipped architecture, photograph by photograph, ± standard error of the "
        "mean.\n\n"
    ) + table(
        head(rows),
        (
            [name]
            + [
                paired(row[key], rows["shipped"][key], decimals)
                for key, (_, decimals) in columns(row).items()
            ]
            for name, row in rows.items()
            if name != "shipped"
        ),
    )


def rounding_table(rows: dict[str, Row], rounded: dict[str, Row]) -> str:
    return (
        "What weights of 8 bits for each output channel cost, as browsers get them: difference to "
        "the same network's own weights.\n\n"
    ) + table(
        head(rows),
        (
            [name]
            + [
                f"{mean(row[key]) - mean(rows[name][key]):+.{decimals + 1}f}"
                for key, (_, decimals) in columns(row).items()
            ]
            for name, row in rounded.items()
        ),
    )


ENCODER_INTRODUCTION = """## Encoders

As the decoders, but for the loss: the squared distance to TAESD's latents, and of the picture that
the bundled decoder, which stays as it is, makes of the latents after the quantiser. Photographs are
measured through that decoder.
"""

PRIOR_INTRODUCTION = f"""## Priors

The present network and one of half its hidden units, trained in the same CPU
seconds on TAESD's latents of {PHOTOGRAPHS:,} photographs, in floats; bits of a symbol of all
photographs that were held out. Milliseconds: of the integer network while a picture of 512×512
pixels is decoded, without the range coder. The bundled prior trained longer, also on our own
encoder's latents.
"""


def prior_table() -> str:
    times, trained, measured = (
        fastest_rows("prior"),
        last_rows("prior"),
        last_rows("prior", "measure"),
    )
    rows = []
    for name, row in measured.items():
        time, end = times.get(name), trained.get(name)
        rows.append(
            [
                name,
                str(PRIORS.get(name, PRIORS["present"])),
                f"{time['milliseconds']:.1f}" if time else "as present",
                f"{end['seconds']:.0f}" if end else "–",
                f"{end['step']:,}" if end else "–",
                *(f"{mean(row[f'{step:g}']):.3f}" for step in PRICED_STEPS),
            ]
        )
    return table(
        (
            "prior",
            "hidden units",
            "ms",
            "CPU s trained",
            "steps",
            *(f"bits, step {step:g}" for step in PRICED_STEPS),
        ),
        rows,
    )


FINDINGS = """## What it says

(To be written when all are measured.)
"""
