"""Image apps for Django side by side: ``make benchmark-delivery``.

Each peer, in its newest version, on a site of its own (``site.py``) in the same environment, with
the same photographs and widths: what a page of 50 pictures costs, the first miss of a rendition, a
stampede, what is stored, what is left after replacing and deleting, bytes at equal SSIMULACRA2; and
what servers can send of renditions that are there (``serving.py``). Wants a quiet machine, Redis
for the stampede, nginx, gunicorn and wrk. Writes ``benchmarks/results/delivery.json`` and
``delivery.md``; a peer that the former has already in this version is not measured again.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from ..lite_model import RESULTS
from . import serving
from .peers import FIRST, PEERS, WIDTHS

OURS = "django-latentimg"
SERVED = "served"
"""Key of what is not measured app by app."""
PROCESSES = 4
CROWDS = (8, 64)
TABLE = RESULTS / "delivery.json"

Found = dict[str, Any]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--peers", default=",".join(PEERS))
    arguments.add_argument("--shared", default="../shared", type=Path)
    arguments.add_argument("--report-only", action="store_true", help="measure nothing")
    given = arguments.parse_args()
    found: dict[str, Found] = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    os.environ["SHARED"] = str(given.shared)
    for name in [] if given.report_only else given.peers.split(","):
        current = version(PEERS[name].package)
        if name != OURS and found.get(name, {}).get("version") == current:
            continue
        ours = found[OURS]["seen"]["ssimulacra2"] if name != OURS else None
        found[name] = {"version": current, **measure(name, ours)}
        if name == OURS:
            found[SERVED] = serve()
        print(name, json.dumps(found[name]), flush=True)
        TABLE.write_text(json.dumps(found, indent=1) + "\n")
    apps = {name: found[name] for name in PEERS if name in found}
    text = report(apps) + serving.report(found[SERVED])
    (RESULTS / "delivery.md").write_text(text)
    print(text)


def measure(name: str, ssimulacra2: float | None) -> Found:
    """``ssimulacra2``: of what browsers get of ours."""
    found: Found = {task: run(name, task) for task in ("page", "miss", "kinds", "storage", "seen")}
    if ssimulacra2 is not None and PEERS[name].quality:
        found["equal"] = equal(name, ssimulacra2)
    for people in CROWDS:
        found[f"crowd of {people}"] = stampede(name, people)
    return found


def equal(name: str, ssimulacra2: float) -> Found:
    """What a peer stores at the lowest quality that shows as much as ours."""
    low, high, found = 0, 95, {}
    while high - low > 1:
        quality = (low + high) // 2
        seen = run(name, "seen", QUALITY=str(quality))
        if seen["ssimulacra2"] < ssimulacra2:
            low = quality
        else:
            high, found = quality, {"quality": quality, **seen}
    return found


def serve() -> Found:
    with tempfile.TemporaryDirectory() as new:
        folder = Path(new)
        folder.chmod(0o755)  # for nginx, which gives up root's rights
        return serving.measure(folder, run(OURS, "cached", folder))


def run(name: str, task: str, folder: Path | None = None, **environment: str) -> Found:
    """What a task prints, in a new folder unless one is given."""
    if folder is None:
        with tempfile.TemporaryDirectory() as new:
            return run(name, task, Path(new), **environment)
    finished = subprocess.run(
        command(task, folder),
        env={**os.environ, "PEER": name, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise RuntimeError(f"{name}, {task}: {finished.stderr[-2000:]}")
    result: Found = json.loads(finished.stdout.splitlines()[-1])
    return result


def command(task: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.delivery.site", task, str(folder)]


def stampede(name: str, people: int) -> Found:
    """So many ask at once for a rendition that is not there: saves done, and files left."""
    with tempfile.TemporaryDirectory() as new:
        folder, saves = Path(new), Path(new) / "saves"
        environment = {"SAVES": str(saves)}
        prepared = run(name, "prepare", folder, **environment)
        saves.write_text("")
        processes = [
            subprocess.Popen(
                command("crowd", folder),
                env={
                    **os.environ,
                    **environment,
                    "PEER": name,
                    "THREADS": str(people // PROCESSES),
                    "PK": str(prepared["pk"]),
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(PROCESSES)
        ]
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        answers = [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
        left = sum(path.is_file() for path in (folder / "files").rglob("*")) - prepared["files"]
        return {
            "saves": len(saves.read_text().splitlines()),
            "files": left,
            "failed": sum(len(answer["failed"]) for answer in answers),
        }


def report(found: dict[str, Found]) -> str:
    """``found``: by the apps' names."""
    ours = found[OURS]
    peers = [one for name, one in found.items() if name != OURS]
    widths = ", ".join(map(str, WIDTHS))
    versions = ", ".join(f"{name} {one['version']}" for name, one in found.items())
    fastest = min(one["page"]["seconds at 0"] for one in peers)
    usual = median(one["miss"]["12"] for one in peers)
    misses = [
        [
            name,
            *(ms(one["miss"][size]) for size in ("1", "12", "48")),
            f"{one['miss']['12'] / usual:.2f}",
            one["kinds"]["alpha"],
            one["kinds"]["CMYK"],
        ]
        for name, one in found.items()
    ]
    left = [
        [
            name,
            *(
                f"{of['saves']}, {of['files']}, {of['failed']}"
                for of in (one[f"crowd of {people}"] for people in CROWDS)
            ),
            *(one["storage"][key] for key in ("files", "left after replacing")),
            one["storage"]["left after deleting"],
        ]
        for name, one in found.items()
    ]
    return "\n".join(
        [
            f"Widths {widths}. {versions}. Ours is compressed at effort 0.",
            "",
            "## A page of 50 pictures",
            "",
            "All renditions are there; every storage call costs 0, 20 or 100 ms. *Cold*: the page "
            "that is asked for first, with a storage that takes no time; where renditions are made "
            "on request of their URLs it makes none.",
            "",
            *table(
                "queries, cache calls, storage calls, ms at 0, 20, 100 ms, cold s, KB of HTML",
                [[name, *page_row(one["page"])] for name, one in found.items()],
            ),
            "",
            f"Ours takes {ours['page']['seconds at 0'] / fastest:.2f} of the time of the fastest "
            "peer.",
            "",
            "## First miss",
            "",
            f"A rendition of {FIRST} pixels of a photograph of 1, 12 or 48 megapixels, ours of the "
            "latents, the others of their JPEG; of django-pictures all renditions, because it "
            "makes none alone. *Alpha*, *CMYK*: what becomes of a PNG with transparency and of a "
            "JPEG in CMYK.",
            "",
            *table("1 MP ms, 12 MP ms, 48 MP ms, × median peer at 12 MP, alpha, CMYK", misses),
            "",
            "## Stampede, and what is left",
            "",
            f"{CROWDS[0]} or {CROWDS[1]} who ask for one rendition at once, over {PROCESSES} "
            "processes: saves, files left, who got an error. *Files*: of one photograph of "
            "1280 × 960 with all renditions (ours in three formats), and how many are left too "
            "many after it was replaced, and then deleted.",
            "",
            *table(
                ", ".join(f"{people}: saves; files; errors" for people in CROWDS)
                + ", files, left: replaced, deleted",
                left,
            ),
            "",
            *stored(found),
            "",
        ]
    )


def stored(found: dict[str, Found]) -> list[str]:
    """Bytes of a photograph, at equal measure."""
    ours = found[OURS]["seen"]
    rows = [
        ["ours, all formats, with its source", "", ours["ssimulacra2"], sum_of(ours, "source")],
        ["ours, all formats, source not kept", "", ours["ssimulacra2"], sum_of(ours)],
        [
            "ours, AVIF only, source not kept",
            "",
            ours["ssimulacra2"],
            ours["blob"] + ours["in the first format"],
        ],
    ]
    peers = []
    for name, one in found.items():
        if name == OURS:
            continue
        rows.append([name, "default", one["seen"]["ssimulacra2"], sum_of(one["seen"], "source")])
        if one.get("equal"):
            peers.append(sum_of(one["equal"], "source"))
            quality, measure = one["equal"]["quality"], one["equal"]["ssimulacra2"]
            rows.append([name, quality, measure, peers[-1]])
    best = min(peers)
    lines = [
        [name, quality, f"{measure:.1f}", f"{size:,.0f}", f"{size / best:.2f}"]
        for name, quality, measure, size in rows
    ]
    return [
        "## Bytes stored",
        "",
        "Of product photographs about 1,000 pixels wide (JPEG 90), with all renditions; "
        "SSIMULACRA2 of what a browser gets, AVIF of ours, beside the source in that width. Peers "
        "with their default quality and with the lowest at which they show as much as ours. × the "
        "best peer of those.",
        "",
        *table("quality, SSIMULACRA2, bytes, × best peer", lines),
    ]


def sum_of(seen: Found, *more: str) -> float:
    return float(sum(seen[key] for key in ("blob", "renditions", *more)))


def page_row(page: Found) -> list[Any]:
    return [
        *(page[key] for key in ("queries", "cache", "storage")),
        *(ms(page[f"seconds at {latency}"]) for latency in (0, 20, 100)),
        f"{page['cold']:.2f}",
        f"{page['bytes'] / 1024:.0f}",
    ]


def ms(seconds: float) -> str:
    return f"{1000 * seconds:,.0f}"


def table(heads: str, rows: list[list[Any]]) -> list[str]:
    """Markdown; the heads of all columns but the first, with commas between."""
    columns = ["", *heads.split(", ")]
    lines = [columns, ["---"] * len(columns), *rows]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


if __name__ == "__main__":
    main()
