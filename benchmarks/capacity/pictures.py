"""What one photograph costs a worker and the view: ``python -m benchmarks.capacity.pictures``.

Seconds are of processor time, with one thread of torch, as a worker process for each core has.
Wants a quiet machine. Photographs of ``../shared``: ordinary ones (Kodak) and products. Writes
``benchmarks/results/capacity_pictures.json`` after every photograph and goes on where it stopped.
"""

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from django_latentimg import codec
from django_latentimg.codec.guard import Guard
from django_latentimg.fields import WIDTHS
from django_latentimg.renditions import ENCODERS

from ..metrics import Lpips, Pixels, ssimulacra2
from .inputs import RESULTS

FOUND = RESULTS / "capacity_pictures.json"
GUARD = Guard(widths=WIDTHS)
EFFORTS = {"kodak": (0,), "products": (0, 1, 5)}
REFINED = 3
"""Photographs of a set at more than the first effort, which takes long."""
PICTURES = 6
"""Of each set."""
LARGE = 4000, 3000
"""Of the photograph that stands for a telephone's."""
FULL = 0
"""In place of a width: as large as the photograph."""

Row = dict[str, Any]
T = TypeVar("T")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--shared", default="../shared", type=Path)
    given = arguments.parse_args()
    found: dict[str, list[Row]] = json.loads(FOUND.read_text()) if FOUND.exists() else {}
    lpips = Lpips(given.shared / "metrics/lpips_squeeze")
    torch.set_num_threads(1)  # Threads that wait for others would count.
    codec.decode(codec.encode(read(chosen(given.shared, "kodak")[0]), guard=GUARD))  # loads all
    for name in EFFORTS:
        for number, path in enumerate(chosen(given.shared, name)):
            efforts = EFFORTS[name] if number < REFINED else EFFORTS[name][:1]
            measure(found, {"set": name, "picture": path.stem}, path, efforts, lpips)
    if "large" not in found:
        found["large"] = large(read(chosen(given.shared, "products")[0]))
    found["megapixels"] = [
        {"set": name, "mean": megapixels(given.shared, name)} for name in ("products", "kodak")
    ]
    FOUND.write_text(json.dumps(found, indent=1) + "\n")


def chosen(shared: Path, name: str) -> list[Path]:
    """Spread evenly over those that have pixels for most of the widths."""
    wide = []
    for path in sorted((shared / "photos" / name).glob("*.[pw][ne][gb]*")):
        with Image.open(path) as opened:
            if opened.width >= 640:
                wide.append(path)
    return wide[:: max(1, len(wide) // PICTURES)][:PICTURES]


def megapixels(shared: Path, name: str) -> float:
    """In the mean, of a whole set."""
    sizes = []
    for path in (shared / "photos" / name).glob("*.[pw][ne][gb]*"):
        with Image.open(path) as opened:
            sizes.append(opened.width * opened.height / 1e6)
    return round(statistics.mean(sizes), 4)


def read(path: Path) -> Image.Image:
    with Image.open(path) as opened:
        return opened.convert("RGB")


def measure(
    found: dict[str, list[Row]], key: Row, path: Path, efforts: tuple[int, ...], lpips: Lpips
) -> None:
    """Adds one photograph, unless it is there."""
    if any(row["picture"] == key["picture"] for row in found.get("renditions", [])):
        return
    picture = read(path)
    half = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
    rows, blob = [], b""
    for effort in efforts[::-1]:  # The blob that goes on from here is that of the first.
        blob, row = compressed(picture, effort, GUARD)
        rows.append(row)
    rows += [compressed(half, efforts[0], GUARD)[1], compressed(picture, efforts[0], None)[1]]
    shown = [
        rendition(picture, blob, width, lpips)
        for width in (FULL, *WIDTHS)
        if width <= picture.width
    ]
    found.setdefault("compression", []).extend(key | row for row in rows)
    found.setdefault("renditions", []).extend(key | row for row in shown)
    FOUND.write_text(json.dumps(found, indent=1) + "\n")
    print(key, json.dumps(rows), json.dumps(shown), flush=True)


def compressed(picture: Image.Image, effort: int, guard: Guard | None) -> tuple[bytes, Row]:
    blob, seconds = timed(lambda: codec.encode(picture, effort=effort, guard=guard))
    verdict = codec.Latent.from_bytes(blob).verdict
    return blob, {
        "pixels": picture.width * picture.height,
        "effort": effort,
        "guard": guard is not None,
        "kept": verdict.kept if verdict else "latents",
        "seconds": round(seconds, 3),
        "bytes": len(blob),
    }


def rendition(picture: Image.Image, blob: bytes, width: int, lpips: Lpips) -> Row:
    """What a browser gets of the blob, and AVIF of the source that shows as much."""
    wanted = width or picture.width
    decoded, decoding = timed(lambda: codec.decode(blob, width=wanted))
    content, encoding = timed(lambda: encoded(decoded, "avif"))
    source = picture.resize(decoded.size, Image.Resampling.LANCZOS)
    own, own_seconds = timed(lambda: encoded(source, "avif"))
    rgb, seen = np.asarray(source), decode(content)
    if width == FULL:  # Beside an AVIF in the blob's place it is the blob that counts.
        seen = np.asarray(decoded)
    near, natural = ssimulacra2(rgb, seen), lpips(rgb, seen)
    return {
        "width": width,
        "pixels": decoded.width * decoded.height,
        "blob": len(blob),
        "decode": round(decoding, 4),
        "encode": round(encoding, 4),
        "bytes": len(content),
        "bytes_webp": len(encoded(decoded, "webp")),
        "bytes_jpeg": len(encoded(decoded, "jpeg")),
        "ssimulacra2": round(near, 2),
        "lpips": round(natural, 4),
        "avif": len(own),
        "avif_seconds": round(own_seconds, 4),
        "avif_ssimulacra2": round(ssimulacra2(rgb, decode(own)), 2),
        "avif_lpips": round(lpips(rgb, decode(own)), 4),
        "avif_equal_ssimulacra2": smallest(source, lambda got: ssimulacra2(rgb, got) >= near),
        "avif_equal_lpips": smallest(source, lambda got: lpips(rgb, got) <= natural),
    }


def large(picture: Image.Image) -> list[Row]:
    """A blob of twelve megapixels, and its renditions."""
    picture = picture.resize(LARGE, Image.Resampling.LANCZOS)
    blob, plain = compressed(picture, 0, None)
    rows = [plain, compressed(picture, 0, GUARD)[1]]
    for width in WIDTHS:
        decoded, decoding = timed(partial(codec.decode, blob, width=width))
        content, encoding = timed(partial(encoded, decoded, "avif"))
        rows.append(
            {
                "width": width,
                "decode": round(decoding, 3),
                "encode": round(encoding, 3),
                "bytes": len(content),
            }
        )
    return rows


def timed(work: Callable[[], T]) -> tuple[T, float]:
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


def encoded(picture: Image.Image, format: str, **options: Any) -> bytes:
    target = io.BytesIO()
    picture.save(target, format, **ENCODERS[format] | options)
    return target.getvalue()


def decode(content: bytes) -> Pixels:
    with Image.open(io.BytesIO(content)) as opened:
        return np.asarray(opened.convert("RGB"))


def smallest(source: Image.Image, shows_enough: Callable[[Pixels], bool]) -> int:
    """Bytes of AVIF of the lowest quality that does; of the highest one if none does."""
    low, high, content = 0, 95, encoded(source, "avif", quality=95)
    while high - low > 1:
        quality = (low + high) // 2
        tried = encoded(source, "avif", quality=quality)
        if shows_enough(decode(tried)):
            high, content = quality, tried
        else:
            low = quality
    return len(content)


if __name__ == "__main__":
    main()
