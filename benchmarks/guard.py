"""The guard on hard cases: ``python -m benchmarks.guard [--times]``.

Photographs with text, with faces, of products, and rendered text (``rendered.py``): each as latents
alone, with a guard that may not patch, and with one that may; beside them AVIF of the bytes of the
last. Writes ``benchmarks/results/guard.csv``, one row for each file, and ``guard.md``. A row that
the CSV has already, made by the same version, is not measured again; the sets are gone through
side by side, so that a run that was cut off has a share of each.

``--times`` measures what patches cost at decoding, of the products that have some by the CSV, and
wants a quiet machine; it writes ``guard_times.csv``.
"""

import argparse
import csv
import hashlib
import multiprocessing
import os
import time
import zlib
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from django_latentimg import codec
from django_latentimg.codec import container, perceptual, regions
from django_latentimg.codec import guard as policy
from django_latentimg.codec.guard import BEST_AVIF, Avif, Guard, Judge
from django_latentimg.fields import WIDTHS

from . import guard_report, metrics, ocr
from .codec import read
from .codecs import version_of_ours
from .lite_model import RESULTS
from .metrics import Lpips, Pixels
from .rendered import rendered

KEY = ("set", "picture", "variant", "effort", "version")
SETS = ("text", "faces", "products", "rendered")
READ = ("text", "rendered")
"""Sets whose text is read."""
GUARDS = {
    "patches off": Guard(patches="off", widths=WIDTHS),
    "patches auto": Guard(widths=WIDTHS),
}
FIDELITY = {"fidelity": Guard(prefer="fidelity", widths=WIDTHS)}
NEAR_LOSSLESS = 90
"""Quality of the AVIF that shows how much the engines' own moods cost."""
LARGE_FACE = 64
"""Pixels of the shorter side from which LPIPS says something."""

Row = dict[str, str]
Rows = dict[tuple[str, ...], Row]


class Task(NamedTuple):
    set: str
    picture: str
    source: Path | None
    """None for rendered text."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--shared", default="../shared", type=Path)
    arguments.add_argument("--sets", default=",".join(SETS))
    arguments.add_argument("--effort", default=1, type=int)
    arguments.add_argument("--limit", type=int, help="pictures of each set")
    arguments.add_argument("--fidelity", action="store_true", help="products by SSIMULACRA2 too")
    arguments.add_argument("--processes", type=int, default=os.cpu_count())
    arguments.add_argument("--times", action="store_true", help="of decoding, and nothing else")
    arguments.add_argument("--report-only", action="store_true", help="measure nothing")
    given = arguments.parse_args()

    table, times = RESULTS / "guard.csv", RESULTS / "guard_times.csv"
    rows = load(table)
    tasks = in_turn([all_of(name, given.shared)[: given.limit] for name in given.sets.split(",")])
    if given.times:
        patched = [
            task
            for task in tasks
            if task.set == "products"
            and int(rows.get(key_of(task, "patches auto", given.effort), {}).get("patches", 0))
        ]
        save(times, decode_times(patched, given.effort))
    elif not given.report_only:
        work = []
        for task in tasks:
            known = {key: row for key, row in rows.items() if key[:2] == task[:2]}
            work.append((task, given.effort, given.fidelity, known))
        prepare = prepare_process, (given.shared / "metrics/lpips_squeeze",)
        # A process for every core, each with one thread: most measures know no threads.
        with multiprocessing.get_context("spawn").Pool(given.processes, *prepare) as pool:
            for task, of_picture in pool.imap_unordered(measure_in_process, work):
                rows = {key: row for key, row in rows.items() if key[:2] != task[:2]} | of_picture
                save(table, sorted(rows.values(), key=lambda row: (row["set"], row["picture"])))
                print(time.strftime("%H:%M:%S"), *task[:2], flush=True)
    current = [
        row
        for row in rows.values()
        if row["version"] == version() and row["effort"] == str(given.effort)
    ]
    totals = {name: len(all_of(name, given.shared)) for name in SETS}
    timed = [row for row in read_table(times) if row["version"] == version()]
    text = guard_report.report(current, totals, timed, given.effort)
    (RESULTS / "guard.md").write_text(text)
    print(text)


def all_of(name: str, shared: Path) -> list[Task]:
    if name == "rendered":
        return [Task(name, picture, None) for picture, _ in rendered()]
    folder = shared / "photos" / name
    return [Task(name, path.stem, path) for path in sorted(folder.glob("*.webp"))]


def in_turn(sets: list[list[Task]]) -> list[Task]:
    """All tasks, each set's spread evenly over the whole."""
    placed = [
        ((number + 0.5) / len(tasks), task) for tasks in sets for number, task in enumerate(tasks)
    ]
    return [task for _, task in sorted(placed, key=lambda pair: pair[0])]


@cache
def version() -> str:
    """Of the weights, and of all code that has a say in what a guarded blob holds."""
    folder = Path(codec.__file__).parent
    names = ("embedded", "guard", "floors", "patches", "regions", "perceptual")
    paths = (*(folder / f"{name}.py" for name in names), perceptual.WEIGHTS)
    digest = zlib.crc32(b"".join(path.read_bytes() for path in paths))
    return f"{version_of_ours('lite')} {digest:08x}"


def key_of(task: Task, variant: str, effort: int) -> tuple[str, ...]:
    return task.set, task.picture, variant, str(effort), version()


def read_table(table: Path) -> list[Row]:
    if not table.exists():
        return []
    with table.open(newline="") as source:
        return list(csv.DictReader(source))


def load(table: Path) -> Rows:
    return {tuple(row[name] for name in KEY): row for row in read_table(table)}


def save(table: Path, rows: Iterable[Row]) -> None:
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    fresh = table.with_suffix(".new")
    with fresh.open("w", newline="") as target:
        writer = csv.DictWriter(target, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(fresh, table)


# Many questions about one picture are asked more than once: by both guards, and by this benchmark
# of what the guard has asked already. So the answers are kept until the next picture.

_answers: dict[tuple[object, ...], Any] = {}


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same, asked only once about the same pixels."""

    def digest(value: object) -> object:
        if isinstance(value, np.ndarray):
            return value.shape, hashlib.sha1(value.tobytes()).digest()
        return value

    def ask(*values: object) -> Any:
        key = (function, *map(digest, values))
        if key not in _answers:
            _answers[key] = function(*values)
        return _answers[key]

    return ask


def prepare_process(lpips: Path) -> None:
    import torch

    torch.set_num_threads(1)
    measure = Lpips(lpips)
    _measures.update(
        psnr=metrics.psnr,
        ssimulacra2=remembered(metrics.ssimulacra2),
        lpips=remembered(measure),
        **{name: remembered(engine) for name, engine in ocr.ENGINES.items()},
    )
    perceptual.Reference.distance = remembered(perceptual.Reference.distance)  # type: ignore[method-assign]
    perceptual.Reference = remembered(perceptual.Reference)  # type: ignore[misc]
    policy.fidelity = remembered(policy.fidelity)
    regions.text_boxes = remembered(regions.text_boxes)
    regions.face_boxes = remembered(regions.face_boxes)
    Avif.encode = staticmethod(remembered(Avif.encode))


_measures: dict[str, Callable[..., Any]] = {}
"""Of this process."""


def measure_in_process(work: tuple[Task, int, bool, Rows]) -> tuple[Task, Rows]:
    task, effort, fidelity, rows = work
    _answers.clear()
    guards = GUARDS | (FIDELITY if fidelity and task.set == "products" else {})
    if any(key_of(task, variant, effort) not in rows for variant in guards):
        rgb = dict(rendered())[task.picture] if task.source is None else read(task.source)
        made = measure_picture(task, rgb, effort, guards)
        rows = {
            # Other versions' rows of the same file are out of date.
            **{key: row for key, row in rows.items() if key[:4] not in {new[:4] for new in made}},
            **made,
        }
    return task, rows


def measure_picture(task: Task, rgb: Pixels, effort: int, guards: dict[str, Guard]) -> Rows:
    """Rows of all variants of one picture."""
    judge = Judge(GUARDS["patches auto"], rgb)
    faces = regions.face_boxes(rgb) if task.set == "faces" else []
    references = (
        {name: ocr.steady(_measures[name], rgb) for name in ocr.ENGINES} if task.set in READ else {}
    )
    rows: Rows = {}

    def add(variant: str, size: int, show: Callable[[int | None], Pixels], **more: object) -> None:
        decoded = show(None)
        row: dict[str, object] = {"bytes": size, **more}
        row["flaw"] = judge.flaw(decoded) or ""
        row["distance"] = f"{np.mean(judge.measure(show)):.5f}"
        row["ssimulacra2"] = f"{_measures['ssimulacra2'](rgb, decoded):.2f}"
        row["lpips"] = f"{_measures['lpips'](rgb, decoded):.4f}"
        for engine, reference in references.items():
            found = _measures[engine](decoded, 0.0)
            row[f"{engine} sure"] = _measures[engine](rgb, ocr.SURE).total()
            row[f"{engine} words"] = reference.total()
            row[f"{engine} read"] = ocr.read_again(reference, found)
        if faces:
            row |= measure_faces(rgb, decoded, faces)
        key = key_of(task, variant, effort)
        rows[key] = dict(zip(KEY, key, strict=True)) | {k: str(v) for k, v in row.items()}

    plain = codec.encode(Image.fromarray(rgb), effort=effort)
    add("latents", len(plain), partial(shown, plain))
    for variant, guard in guards.items():
        blob = guarded(plain, rgb, guard)
        latent = codec.Latent.from_bytes(blob)
        verdict, patches = latent.verdict, latent.patches()
        assert verdict
        more: dict[str, object] = {"kept": verdict.kept, "reason": verdict.reason}
        more["patches"] = len(patches.boxes) if patches else 0
        more["patched"] = f"{patched_share(patches.boxes if patches else [], rgb):.4f}"
        if variant == "patches auto":
            decoded = shown(blob, None)
            least = _measures["ssimulacra2"](rgb, decoded)
            more["avif_bytes"] = len(avif_as_good(rgb, least).data)
            rival = policy.largest_avif(rgb, len(blob))
            add("AVIF of the same bytes", len(rival.data), rival.show)
        add(variant, len(blob), partial(shown, blob), **more)
    if references:
        best = Avif.encode(rgb, NEAR_LOSSLESS)
        add(f"AVIF {NEAR_LOSSLESS}", len(best.data), best.show)
    return rows


def guarded(plain: bytes, rgb: Pixels, guard: Guard) -> bytes:
    """What ``codec.encode`` makes with a guard of what it has made without."""
    header, chunks = container.unpack(plain)

    def show(chunks: dict[bytes, bytes], width: int | None) -> Pixels:
        return shown(container.pack(header, chunks), width)

    return container.pack(header, policy.apply(guard, rgb, chunks, show))


def shown(blob: bytes, width: int | None) -> Pixels:
    return np.asarray(codec.decode(blob, width=width))


def patched_share(boxes: list[policy.Box], rgb: Pixels) -> float:
    """Of the picture's area."""
    return sum(box.area for box in boxes) / (rgb.shape[0] * rgb.shape[1])


def avif_as_good(rgb: Pixels, least: float) -> Avif:
    """The smallest AVIF with at least so much SSIMULACRA2."""
    low, high, quality = -1, BEST_AVIF, 12
    best = None
    while high - low > 1:
        found = Avif.encode(rgb, quality)
        if _measures["ssimulacra2"](rgb, found.rgb) >= least:
            best, high = found, quality
        else:
            low = quality
        # Most answers lie low, and high qualities take long.
        quality = min((low + high) // 2, 2 * low + 8)
    return best or Avif.encode(rgb, BEST_AVIF)


def measure_faces(rgb: Pixels, decoded: Pixels, boxes: list[policy.Box]) -> dict[str, object]:
    """Means over a picture's faces."""
    pairs = [(rgb[box.window], decoded[box.window]) for box in boxes]
    large = [pair for pair in pairs if min(pair[0].shape[:2]) >= LARGE_FACE]
    return {
        "faces": len(pairs),
        "face_psnr": f"{np.mean([_measures['psnr'](*pair) for pair in pairs]):.2f}",
        "large_faces": len(large),
        "face_lpips": f"{np.mean([_measures['lpips'](*pair) for pair in large]):.4f}"
        if large
        else "",
    }


Cost = Literal["without", "with"]


def decode_times(tasks: list[Task], effort: int) -> list[Row]:
    """Milliseconds to decode a blob with its patches and without, best of ten each in turn."""
    rows = []
    for task in tasks:
        assert task.source
        rgb = read(task.source)
        plain = codec.encode(Image.fromarray(rgb), effort=effort)
        decoded = shown(plain, None)
        floors = Judge(GUARDS["patches auto"], rgb).floors
        payload = policy.find_patches(floors, rgb, decoded, floors.failures(decoded))
        assert payload
        header, chunks = container.unpack(plain)
        blobs: dict[Cost, bytes] = {
            "without": plain,
            "with": container.pack(header, {**chunks, container.PATCHES: payload}),
        }
        seconds: dict[Cost, list[float]] = {"without": [], "with": []}
        for _ in range(10):
            for name, blob in blobs.items():
                started = time.perf_counter()
                codec.decode(blob)
                seconds[name].append(time.perf_counter() - started)
        rows.append(
            {"picture": task.picture, "version": version()}
            | {name: f"{1000 * min(of):.1f}" for name, of in seconds.items()}
        )
        print(*rows[-1].values(), flush=True)
    return rows


if __name__ == "__main__":
    main()
