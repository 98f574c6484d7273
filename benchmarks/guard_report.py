"""What ``benchmarks.guard`` found, as Markdown."""

from collections import Counter
from collections.abc import Iterable

import numpy as np

Row = dict[str, str]

TITLES = {
    "text": "text",
    "faces": "faces",
    "products": "products",
    "rendered": "rendered text",
}
ENGINES = ("Tesseract", "RapidOCR")
OFF, ON, RIVAL = "patches off", "patches auto", "AVIF of the same bytes"
READABLE = 0.99
"""Share of the source's words."""
LONGER = 1.1
"""Of the time to decode, at most with patches."""


def report(rows: list[Row], totals: dict[str, int], times: list[Row], effort: int) -> str:
    """``totals``: how many pictures there are in each set."""
    done = {name: len(of(rows, name, ON)) for name in totals}
    counted = ", ".join(f"{TITLES[name]} {done[name]} of {totals[name]}" for name in totals)
    measured = [name for name in totals if done[name]]
    parts = [
        f"Quality 50, effort {effort}, compared at 1:1 and in the widths of a field's default. "
        f"Pictures measured: {counted}. Without patches and with, the guard may put AVIF in the "
        "latents' place.\n",
        "## Bars\n",
        bars(rows, times),
        "## What was kept\n",
        kept_table(rows, measured),
        "## Bytes beside AVIF at equal SSIMULACRA2\n",
        bytes_table(rows, measured),
        "## Text\n",
        text_table(rows, measured),
        sizes_table(rows),
        "## Faces\n",
        faces_table(rows),
        "## Deals\n",
        deals_table(rows, measured),
    ]
    return "\n".join(part for part in parts if part)


def of(rows: Iterable[Row], name: str, variant: str) -> list[Row]:
    return [row for row in rows if (row["set"], row["variant"]) == (name, variant)]


def bars(rows: list[Row], times: list[Row]) -> str:
    """Each with what was found, met or missed."""
    lines = ["| bar | found | |", "| --- | --- | --- |"]

    def line(bar: str, found: str, met: bool) -> None:
        lines.append(f"| {bar} | {found} | {'met' if met else '**missed**'} |")

    for name in ("text", "rendered"):
        for engine in ENGINES:
            share = accuracy(of(rows, name, ON), engine)
            if share is not None:
                bar = f"{TITLES[name]}, {engine}: {READABLE:.0%} of the source's words with patches"
                line(bar, f"{share:.1%}", share >= READABLE)
    worse = [pair for pair in pairs(rows) if is_worse(*pair)]
    names = ", ".join(f"{ours['set']}/{short(ours['picture'])}" for ours, _ in worse)
    found = f"{len(worse)} of {len(list(pairs(rows)))}{': ' if worse else ''}{names}"
    line("no stored picture a worse deal than AVIF of the same bytes", found, not worse)
    if times:
        products = of(rows, "products", ON)
        latents = sum(row["kept"] == "latents" for row in products)
        ratios = [float(row["with"]) / float(row["without"]) for row in times]
        ratios += [1.0] * (latents - len(ratios))
        patched = float(np.median(ratios[: len(times)]))
        found = (
            f"{np.median(ratios) - 1:+.1%} for all {len(ratios)} that are latents; "
            f"{patched - 1:+.1%} for the {len(times)} with patches"
        )
        bar = f"at most {LONGER - 1:.0%} more time to decode, median product"
        line(bar, found, bool(np.median(ratios) <= LONGER))
    else:
        lines.append("| time to decode | not measured: `python -m benchmarks.guard --times` | |")
    return "\n".join(lines) + "\n"


def short(picture: str) -> str:
    """Names of files may be long digests."""
    return picture if len(picture) <= 44 else f"{picture[:40]}…"


def accuracy(rows: list[Row], engine: str) -> float | None:
    """Share of the source's words that are read again; None without any."""
    words, again = (
        sum(int(row.get(f"{engine} {column}") or 0) for row in rows) for column in ("words", "read")
    )
    return again / words if words else None


def kept_table(rows: list[Row], sets: list[str]) -> str:
    lines = [
        "Mean bytes; share of the pictures that became AVIF, and why; how many have patches, and "
        "the mean share of the area these cover.\n",
        "| set | variant | bytes | AVIF | why | patched | area |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in sets:
        for variant in ("latents", OFF, ON, "fidelity"):
            found = of(rows, name, variant)
            if not found:
                continue
            cells = [TITLES[name], variant, f"{mean(found, 'bytes'):,.0f}"]
            if variant == "latents":
                cells += ["", "", "", ""]
            else:
                fallen = Counter(row["reason"] for row in found if row["kept"] == "avif")
                why = ", ".join(f"{reason} {count}" for reason, count in fallen.most_common())
                patched = [row for row in found if int(row["patches"])]
                area = f"{mean(patched, 'patched'):.0%}" if patched else ""
                share = f"{fallen.total() / len(found):.0%}"
                cells += [share, why, f"{len(patched)} of {len(found)}", area]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def mean(rows: list[Row], column: str) -> float:
    return float(np.mean([float(row[column]) for row in rows]))


def bytes_table(rows: list[Row], sets: list[str]) -> str:
    lines = [
        "Bytes with patches as a share of those of the smallest AVIF (speed 4) with at least as "
        "much SSIMULACRA2; above 1 AVIF wins. The measure is AVIF's own ground: it asks how near "
        "a picture is to its source, not how natural it looks.\n",
        "| set | median | mean | of latents: median | mean | AVIF is smaller |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in sets:
        found = of(rows, name, ON)
        every = [int(row["bytes"]) / int(row["avif_bytes"]) for row in found]
        kept = [ratio for ratio, row in zip(every, found, strict=True) if row["kept"] == "latents"]
        wins = sum(ratio > 1 for ratio in kept)
        latents = [f"{np.median(kept):.2f}", f"{np.mean(kept):.2f}"] if kept else ["–", "–"]
        cells = [TITLES[name], f"{np.median(every):.2f}", f"{np.mean(every):.2f}", *latents]
        cells.append(f"{wins} of {len(kept)} latents")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def text_table(rows: list[Row], sets: list[str]) -> str:
    variants = ("latents", OFF, ON, RIVAL, "AVIF 90")
    lines = [
        "Words that an engine reads in the source (of two letters or digits at least, confidence "
        "0.8), of those the steady ones, which it also reads when the source is moved by a pixel "
        "and when it is made larger by a twentieth, and how many of these it reads in the decoded "
        "picture. The source scores 100 % by definition; AVIF of quality 90, which nobody tells "
        "from the source, shows what moods are left. Small pictures are read at twice their "
        "size.\n",
        "| set | engine | sure | steady | " + " | ".join(variants) + " |",
        "| --- |" + " --- |" * (3 + len(variants)),
    ]
    for name in sets:
        for engine in ENGINES:
            shares = [accuracy(of(rows, name, variant), engine) for variant in variants]
            if None in shares:
                continue
            sure, words = (
                sum(int(row[f"{engine} {column}"]) for row in of(rows, name, ON))
                for column in ("sure", "words")
            )
            cells = [
                TITLES[name],
                engine,
                str(sure),
                str(words),
                *(f"{share:.1%}" for share in shares),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    lost = sorted(
        (
            (int(row[f"{engine} words"]) - int(row[f"{engine} read"]), engine, row)
            for name in ("text", "rendered")
            for engine in ENGINES
            for row in of(rows, name, ON)
        ),
        key=lambda entry: -entry[0],
    )
    worst = [
        f"- {row['set']}/{short(row['picture'])}: {engine} misses {count} of "
        f"{row[f'{engine} words']}; kept as {row['kept']}, {row['patches']} patches"
        for count, engine, row in lost[:10]
        if count
    ]
    if worst:
        lines += ["", "Most words lost with patches:\n", *worst]
    return "\n".join(lines) + "\n"


def sizes_table(rows: list[Row]) -> str:
    sizes = sorted({row["picture"][:4] for row in of(rows, "rendered", ON)})
    if not sizes:
        return ""
    lines = [
        "Rendered text by its size, patches off and on.\n",
        "| size | " + " | ".join(f"{engine} off | on" for engine in ENGINES) + " | bytes on |",
        "| --- |" + " --- |" * (1 + 2 * len(ENGINES)),
    ]
    for size in sizes:
        cells = [size.lstrip("0").replace("px", " px")]
        for engine in ENGINES:
            for variant in (OFF, ON):
                found = [r for r in of(rows, "rendered", variant) if r["picture"].startswith(size)]
                share = accuracy(found, engine)
                cells.append("–" if share is None else f"{share:.1%}")
        cells.append(f"{mean(found, 'bytes'):,.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def faces_table(rows: list[Row]) -> str:
    variants = ("latents", OFF, ON, RIVAL)
    with_faces = [row for row in rows if row["set"] == "faces" and row.get("faces")]
    if not with_faces:
        return ""
    found = of(with_faces, "faces", ON)
    count, large = (sum(int(row[name]) for row in found) for name in ("faces", "large_faces"))
    lines = [
        f"Within the {count} faces of {len(found)} pictures, each face counting alike; LPIPS of "
        f"the {large} of at least 64 pixels.\n",
        "| variant | bytes | PSNR dB | LPIPS | whole picture's LPIPS |",
        "| --- | --- | --- | --- | --- |",
    ]
    for variant in variants:
        found = of(with_faces, "faces", variant)
        psnr = weighted(found, "face_psnr", "faces")
        lpips = weighted(found, "face_lpips", "large_faces")
        lines.append(
            f"| {variant} | {mean(found, 'bytes'):,.0f} | {psnr:.2f} | {lpips:.3f} | "
            f"{mean(found, 'lpips'):.3f} |"
        )
    return "\n".join(lines) + "\n"


def weighted(rows: list[Row], column: str, weight: str) -> float:
    pairs = [(float(row[column]), int(row[weight])) for row in rows if row[column]]
    return sum(value * count for value, count in pairs) / max(1, sum(n for _, n in pairs))


def pairs(rows: list[Row]) -> list[tuple[Row, Row]]:
    """Every stored picture, and AVIF of its bytes."""
    rivals = {(row["set"], row["picture"]): row for row in rows if row["variant"] == RIVAL}
    return [
        (row, rivals[row["set"], row["picture"]])
        for row in rows
        if row["variant"] == ON and (row["set"], row["picture"]) in rivals
    ]


def is_worse(ours: Row, avif: Row) -> bool:
    """By the policy's own measure: first the floors, then the mean distance."""
    if bool(ours["flaw"]) != bool(avif["flaw"]):
        return bool(ours["flaw"])
    return float(ours["distance"]) > float(avif["distance"])


def deals_table(rows: list[Row], sets: list[str]) -> str:
    """The same question put to the policy, to LPIPS and to SSIMULACRA2."""
    lines = [
        "Stored pictures (patches auto) that are a worse deal than AVIF of the same bytes: by the "
        "policy's own measure (floors first, then the mean distance over the widths shown), and, "
        "for comparison, by LPIPS and by SSIMULACRA2 at 1:1, which the policy does not ask. Flaws: "
        "pictures in which a floor does not hold, ours and AVIF's.\n",
        "| set | policy | LPIPS | SSIMULACRA2 | flaws, ours | AVIF's |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in sets:
        of_set = [pair for pair in pairs(rows) if pair[0]["set"] == name]
        counts = [
            sum(is_worse(*pair) for pair in of_set),
            sum(float(ours["lpips"]) > float(avif["lpips"]) for ours, avif in of_set),
            sum(float(ours["ssimulacra2"]) < float(avif["ssimulacra2"]) for ours, avif in of_set),
            sum(bool(ours["flaw"]) for ours, _ in of_set),
            sum(bool(avif["flaw"]) for _, avif in of_set),
        ]
        cells = [f"{count} of {len(of_set)}" for count in counts]
        lines.append(f"| {TITLES[name]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
