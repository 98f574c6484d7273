"""Image apps for Django side by side: ``make benchmark-delivery``.

Each peer, in its newest version, on a site of its own (``site.py``) in the same environment, with
the same photographs and widths: what a page of 50 pictures costs, the first miss of a rendition, a
stampede, what is stored, and what is left after replacing and deleting. Wants a quiet machine, and
Redis for the stampede. Writes ``benchmarks/results/delivery.json`` and ``delivery.md``; a peer that
the former has already in this version is not measured again.
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
from .peers import FIRST, PEERS, WIDTHS

OURS = "django-latentimg"
PROCESSES = 4
CROWDS = (8, 64)
TABLE = RESULTS / "delivery.json"

Found = dict[str, Any]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--peers", default=",".join(PEERS))
    arguments.add_argument("--report-only", action="store_true", help="measure nothing")
    given = arguments.parse_args()
    found: dict[str, Found] = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    for name in [] if given.report_only else given.peers.split(","):
        current = version(PEERS[name].package)
        if name != OURS and found.get(name, {}).get("version") == current:
            continue
        found[name] = {"version": current, **measure(name)}
        print(name, json.dumps(found[name]), flush=True)
        TABLE.write_text(json.dumps(found, indent=1) + "\n")
    text = report({name: found[name] for name in PEERS if name in found})
    (RESULTS / "delivery.md").write_text(text)
    print(text)


def measure(name: str) -> Found:
    found: Found = {task: run(name, task) for task in ("page", "miss", "storage")}
    for people in CROWDS:
        found[f"crowd of {people}"] = stampede(name, people)
    return found


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
    ours = found[OURS]
    peers = [one for name, one in found.items() if name != OURS]
    fastest = min(one["page"]["seconds at 0"] for one in peers) if peers else float("nan")
    usual = median(one["miss"]["seconds"] for one in peers) if peers else float("nan")
    widths = ", ".join(map(str, WIDTHS))
    versions = ", ".join(f"{name} {one['version']}" for name, one in found.items())
    lines = [
        f"Widths {widths}; every storage call costs 0, 20 or 100 ms. {versions}. Ours is "
        "compressed at effort 0.",
        "",
        "## A page of 50 pictures",
        "",
        "All renditions are there. *Cold*: the page that is asked for first, with a storage that "
        "takes no time; where renditions are made on request of their URLs it makes none.",
        "",
        "| | queries | cache calls | storage calls | ms at 0 | 20 | 100 ms | cold s | KB of HTML |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in found.items():
        page = one["page"]
        times = " | ".join(f"{1000 * page[f'seconds at {ms}']:,.0f}" for ms in (0, 20, 100))
        lines.append(
            f"| {name} | {page['queries']} | {page['cache']} | {page['storage']} | {times} | "
            f"{page['cold']:.2f} | {page['bytes'] / 1024:.0f} |"
        )
    lines += [
        "",
        f"Ours takes {ours['page']['seconds at 0'] / fastest:.2f} of the time of the fastest peer.",
        "",
        "## First miss, stampede, storage",
        "",
        f"*First miss*: a rendition of {FIRST} pixels of a photograph of 12 megapixels, ours of "
        "the blob, the others of their JPEG; of django-pictures all renditions, because it makes "
        f"none alone. *Stampede*: {CROWDS[0]} or {CROWDS[1]} who ask for it at once, over "
        f"{PROCESSES} processes: saves, files left, who got an error. *Bytes*: of one "
        "photograph of 1280 × 960 with all renditions (ours in three formats, with its source), "
        "and the files that are left after it was replaced, and then deleted.",
        "",
        "| | first miss, ms | × median peer | "
        + " | ".join(f"{people}: saves, files, errors" for people in CROWDS)
        + " | bytes | files | left: replaced | deleted |",
        "| --- " * (7 + len(CROWDS)) + "|",
    ]
    for name, one in found.items():
        seconds, stored = one["miss"]["seconds"], one["storage"]
        crowds = [one[f"crowd of {people}"] for people in CROWDS]
        lines.append(
            f"| {name} | {1000 * seconds:,.0f} | {seconds / usual:.2f} | "
            + " | ".join(f"{of['saves']}, {of['files']}, {of['failed']}" for of in crowds)
            + f" | {stored['bytes']:,} | {stored['files']} | {stored['left after replacing']} | "
            f"{stored['left after deleting']} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
