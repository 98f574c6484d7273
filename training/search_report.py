"""``SEARCH.md`` from the log of the search; see ``search.py``."""

from collections.abc import Iterable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from .candidates import DECODERS, ENCODERS, LARGER, LONGER, PRIORS, Candidate
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
        parts += [encoder_introduction(), *network_parts("encoder", ENCODERS)]
    if read_log("prior", "measure"):
        parts += [PRIOR_INTRODUCTION, prior_table()]
    if read_log("larger", "measure"):
        parts += [LARGER_INTRODUCTION, *network_parts("larger", LARGER)]
    if read_log("longer", "measure"):
        parts += [longer_introduction(), *network_parts("longer", LONGER)]
    TARGET.write_text("\n".join([*parts, FINDINGS]).rstrip() + "\n")


def introduction() -> str:
    return f"""# The search for an architecture

Written by `python -m training search` from `logs/search.jsonl`. Candidates are in `candidates.py`.

Each decoder was sized so that a picture of 512×512 pixels takes as long as with the shipped one, on
one thread, in the precision in which the package runs it. Each was trained from random weights in
the same CPU seconds, on the same batches of {BATCH} crops of {SIDE}² pixels of
{trained_on("decoder"):,} photographs, from TAESD's latents, with the same loss and learning
rate: L1 + MSE, the logarithm of MSE, LPIPS; 40 % of the latents clean, the others at steps from
0.15 to 1.6. They took turns of some seconds, so whatever else the machine did slowed all alike.
Weights are the running average. Training took
{compute()}.

Measured on {MEASURED} photographs of 320×320 that were held out. Kodak has no part in this.

## Decoders
"""


def trained_on(kind: str) -> int:
    photographs: int = read_log(kind, "size")[-1]["training"]
    return photographs


def compute() -> str:
    parts = []
    kinds = {
        "decoder": "decoders",
        "encoder": "encoders",
        "prior": "priors",
        "larger": "larger decoders",
        "longer": "decoders once more",
    }
    for kind, what in kinds.items():
        if trained := last_rows(kind):
            hours = sum(row["seconds"] for row in trained.values()) / 3600
            parts.append(f"{hours:.2f} core-hours for {len(trained)} {what}")
    return ",\n".join(parts)


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


def encoder_introduction() -> str:
    return f"""## Encoders

As the decoders, but for crops of {trained_on("encoder"):,} photographs and the loss: the squared
distance to TAESD's latents, and of the picture that the bundled decoder, which stays as it is,
makes of the latents after the quantiser. Photographs are measured through that decoder.
"""


PRIOR_INTRODUCTION = f"""## Priors

The present network and one of half its hidden units, trained in the same CPU
seconds on TAESD's latents of {PHOTOGRAPHS:,} photographs, in floats; bits of a symbol of all
photographs that were held out. Milliseconds: of the integer network while a picture of 512×512
pixels is decoded, without the range coder. The bundled prior trained longer, also on our own
encoder's latents.
"""


LARGER_INTRODUCTION = """## A larger decoder

What would decode on a GPU: four times the arithmetic, for the same latents. As the decoders above,
but on another machine, with all photographs, and not of equal time: once with the seconds of the
shipped one, once with three times as many.
"""


def longer_introduction() -> str:
    return f"""## The winner for longer

Three of the decoders above with ten times the seconds, on another machine, with
{trained_on("longer"):,} photographs: the one that won, the shipped one, and the deepest, because
short runs may be unjust to depth.
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

- *Shipped, other seed* is the noise: two runs of one network differ by a few hundredths of a
  decibel and by 0.002 to 0.007 of LPIPS. Standard errors are over photographs and do not hold this.
- Fewer blocks at 1/8 and wider at 1/4 leads by a tenth of a decibel and a little in LPIPS, at
  every step; no difference in SSIMULACRA2 but for clean latents. More blocks at 1/8, narrower
  above, loses everywhere, and so does dilation. Early in training these decoders lack something
  above 1/8.
- To be told step and hints helps neither clean latents nor those of step 0.5, where the decoder
  that is not told is a tenth of a decibel ahead. It pays at step 1.0, where that one falls behind
  in all three measures. Feature modulation, which costs a block at 1/8, does as well as planes
  beside the latents, not better.
- Re-parameterised convolutions are no different from plain ones, beyond the noise. A step costs
  more, so they had a sixth fewer; step for step they may be a little better.
- Gated blocks and 7×7 depthwise kernels lag behind. They save multiply-adds but no time on a
  processor with matrix units for bfloat16, and the large kernel's training step takes twice as
  long, so it had half of the steps: its row says that it trains slowly here, not what it can
  become.
- Weights of 8 bits cost less than a hundredth of a decibel with every candidate, so they do not
  decide. Activations were not rounded. The merged convolutions lose the most.
- The encoder wants depth at 1/8, not width: with half of the blocks, each wider, it is 0.3 to 0.4
  dB behind after the same seconds, and farther from TAESD's latents.
- A prior of half the hidden units costs as many bits after the same seconds, in which it made more
  than twice the steps, and saves a tenth of the time: most of that is not in the layers
  that shrink. The bundled one's longer training is worth 0.03 to 0.07 bits a symbol.

- Four times the arithmetic does not pay here. After the same seconds it is a decibel behind; after
  three times as many, in which it saw as many crops, it is where the shipped one is, and a little
  behind in LPIPS. What limits the picture so early is not the decoder's size. So there is no larger
  profile; whether it would gain after a hundred times the steps these runs cannot say.

- Ten times the seconds leave little of the lead: fewer blocks at 1/8 and a wider 1/4 are 0.08, 0.06
  and 0.02 dB ahead at the three steps, hardly more than two runs of one network differ, with the
  same SSIMULACRA2 and LPIPS, and take 9 % more time to decode. Depth does not catch up: it is
  about as far behind in PSNR as in the short runs, nearer in the rest.
- After eighteen minutes of one core, decoders that know nothing but TAESD's latents are nearer to
  the pixels than the bundled one, most of whose training was on latents of its own encoder, and
  0.01 to 0.03 behind it in LPIPS.

So the winner is what is shipped: at equal time nothing leads it by more than the noise. It was
trained for long ([RESULTS.md](RESULTS.md)).

## What it cannot say

- All runs but three are very short: under two minutes and some 430 steps each, where the bundled
  decoder has had tens of thousands. Their candidates are far below it (*bundled* in the tables),
  and SSIMULACRA2 below zero ranks them badly. Short runs rank short runs: what learns fast leads.
  Depth was given ten times as long and did not gain; dilation, gates and large kernels were not.
  The learning rate was the shipped blocks', the same for all. It had fallen to a quarter at the
  end, not to zero: in the short runs because 130 seconds were planned and the machine had time for
  110, in the longer ones because they follow the same course.
- The decoders saw 465 photographs: those whose number leaves 1 when it is divided by 8. `prepare`
  and the search on all would not give the same figures. Encoders and priors, compared later and on
  another machine, saw all that `prepare` takes.
- One seed each, but for the shipped one, and few photographs.
- Equal time holds on one processor, in bfloat16 with matrix units, and to about a tenth: identical
  networks differ by 5 % in one timing, because the machine was shared; *wide above*, *gated* and
  *dilated* may have up to that more. Elsewhere depthwise convolutions may cost less.
"""
