"""How renditions are made: ``python -m benchmarks.renditions``.

Three questions. What does a browser see of the source at each quality of AVIF, and for how many
bytes? Which quality of WebP and JPEG shows as much as AVIF's (SSIMULACRA2 of the encoded rendition
beside the picture that was encoded)? Both chosen on photographs of the training set, shown on the
products. And what does it change to scale in linear light, or to let libvips scale, and what does
it cost? Writes ``benchmarks/results/renditions.csv`` and ``renditions.md``. Wants libvips besides:
``pip install "pyvips[binary]"``.
"""

import argparse
import csv
import io
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from django_latentimg import codec
from django_latentimg.renditions import ENCODERS

from .codec import fastest, read
from .lite_model import RESULTS
from .metrics import Lpips, ssimulacra2

TABLE = RESULTS / "renditions.csv"
SETS = ("train", "products")
WIDTHS = (320, 640)
QUALITIES = {
    "avif": range(40, 81, 5),
    "webp": range(60, 96, 5),
    "jpeg": range(60, 96, 5),
}
SHARPEN = 0.3
"""Of the difference to a blurred copy (radius 1 pixel)."""
LARGE = 12_000_000
"""Pixels of the picture that is scaled for time."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--shared", default="../shared", type=Path)
    arguments.add_argument("--pictures", default=24, type=int)
    arguments.add_argument("--report-only", action="store_true", help="encode nothing again")
    given = arguments.parse_args()

    def some(name: str, number: int) -> list[Path]:
        paths = sorted((given.shared / "photos" / name).rglob("*.webp"))
        return paths[:: max(1, len(paths) // number)][:number]

    if given.report_only:
        with TABLE.open(newline="") as stored:
            rows = [row | {"quality": int(row["quality"])} for row in csv.DictReader(stored)]
    else:
        rows = [
            {"set": name, "picture": path.stem, **row}
            for name in SETS
            for path in some(name, given.pictures)
            for picture, _ in shown(path)
            for row in encoded(picture)
        ]
        with TABLE.open("w", newline="") as target:
            writer = csv.DictWriter(target, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    lpips = Lpips(given.shared / "metrics/lpips_squeeze")
    text = "\n".join(
        [
            *worth({name: some(name, given.pictures // 2) for name in SETS}, lpips),
            "",
            *table(rows),
            "",
            *scaling(some("products", given.pictures)),
            "",
        ]
    )
    (RESULTS / "renditions.md").write_text(text)
    print(text)


def shown(path: Path) -> Iterator[tuple[Image.Image, Image.Image]]:
    """Of a blob, in each width: what is encoded; and the source in this width."""
    source = Image.fromarray(read(path))
    blob = codec.encode(source)
    for width in WIDTHS:
        picture = codec.decode(blob, width=width)
        yield picture, source.resize(picture.size, Image.Resampling.LANCZOS)


def worth(sets: dict[str, list[Path]], lpips: Lpips) -> list[str]:
    """What AVIF's quality buys; and what it would of the source itself."""
    lines = [
        "## AVIF's quality",
        "",
        "Beside the source in that width, of the blob's rendition and of the source encoded "
        f"itself; {', '.join(f'{len(paths)} of {name}' for name, paths in sets.items())}, "
        f"{' and '.join(map(str, WIDTHS))} pixels wide, blobs of effort 0.",
        "",
        "| set | quality | KB | SSIMULACRA2 | LPIPS | of the source: KB | SSIMULACRA2 | LPIPS |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, paths in sets.items():
        pairs = [pair for path in paths for pair in shown(path)]
        for quality in QUALITIES["avif"][::2]:
            found = [
                [part for image in pair for part in of_avif(image, quality, pair[1], lpips)]
                for pair in pairs
            ]
            size, score, far, *source = (statistics.mean(one) for one in zip(*found, strict=True))
            lines.append(
                f"| {name} | {quality} | {size / 1024:.1f} | {score:.1f} | {far:.3f} | "
                f"{source[0] / 1024:.1f} | {source[1]:.1f} | {source[2]:.3f} |"
            )
    return lines


def of_avif(
    picture: Image.Image, quality: int, source: Image.Image, lpips: Lpips
) -> tuple[int, float, float]:
    file = io.BytesIO()
    picture.save(file, "avif", **ENCODERS["avif"] | {"quality": quality})
    with Image.open(file) as opened:
        pair = np.asarray(source), np.asarray(opened.convert("RGB"))
    return len(file.getvalue()), ssimulacra2(*pair), lpips(*pair)


def encoded(picture: Image.Image) -> Iterator[dict[str, Any]]:
    rgb = np.asarray(picture)
    for format, qualities in QUALITIES.items():
        for quality in qualities:
            file = io.BytesIO()
            picture.save(file, format, **ENCODERS[format] | {"quality": quality})
            with Image.open(file) as opened:
                score = ssimulacra2(rgb, np.asarray(opened.convert("RGB")))
            yield {
                "width": picture.width,
                "format": format,
                "quality": quality,
                "bytes": len(file.getvalue()),
                "ssimulacra2": round(score, 2),
            }


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The qualities that come nearest to AVIF's, on the training photographs."""

    def of(name: str, format: str, quality: int, key: str) -> list[float]:
        return [
            float(row[key])
            for row in rows
            if (row["set"], row["format"], row["quality"]) == (name, format, quality)
        ]

    reference = ENCODERS["avif"]["quality"]
    target = statistics.mean(of("train", "avif", reference, "ssimulacra2"))
    lines = [
        "## Equal quality",
        "",
        f"Renditions of blobs, {' and '.join(map(str, WIDTHS))} pixels wide, beside the decoded "
        "picture. *Nearest*: the quality, in steps of five and between them by a straight line, "
        f"that on the training photographs comes to AVIF's {target:.1f} at {reference}. *Used*: "
        "what the package uses.",
        "",
        "| format | nearest | used | SSIMULACRA2, products: mean | lowest tenth | bytes × AVIF |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for format, qualities in QUALITIES.items():
        means = [statistics.mean(of("train", format, q, "ssimulacra2")) for q in qualities]
        nearest = float(np.interp(target, means, list(qualities)))
        used = ENCODERS[format]["quality"]
        grid = list(qualities)
        low = max(q for q in grid if q <= used)
        high = min(q for q in grid if q >= used)
        share = (used - low) / (high - low) if high > low else 0.0
        scores, sizes = (
            [
                (1 - share) * one + share * other
                for one, other in zip(
                    of("products", format, low, key),
                    of("products", format, high, key),
                    strict=True,
                )
            ]
            for key in ("ssimulacra2", "bytes")
        )
        avif = statistics.mean(of("products", "avif", reference, "bytes"))
        lines.append(
            f"| {format} | {nearest:.0f} | {used} | {statistics.mean(scores):.1f} | "
            f"{np.quantile(scores, 0.1):.1f} | {statistics.mean(sizes) / avif:.2f} |"
        )
    return lines


def scaling(paths: list[Path]) -> list[str]:
    """What linear light and sharpening change, and what libvips and linear light cost."""
    changes: dict[str, list[float]] = {"linear light": [], "sharpened": []}
    darker = []
    for path in paths:
        source = read(path)
        for width in WIDTHS:
            size = width, round(source.shape[0] * width / source.shape[1])
            if width >= source.shape[1]:
                continue
            plain, linear = in_gamma(source, size), in_linear_light(source, size)
            changes["linear light"].append(ssimulacra2(linear, plain))
            changes["sharpened"].append(ssimulacra2(linear, sharpened(plain)))
            darker.append(float(linear.mean() - plain.mean()))
    side = round(LARGE**0.5)
    large = np.asarray(Image.fromarray(read(paths[0])).resize((side, side)))
    file = io.BytesIO()
    Image.fromarray(large).save(file, "JPEG", quality=90)
    jpeg, size = file.getvalue(), (400, 400)
    ways: dict[str, Callable[[], object]] = {
        "Pillow, draft, Lanczos": lambda: in_gamma(draft(jpeg), size),
        "the same in linear light": lambda: in_linear_light(draft(jpeg), size),
        "libvips, thumbnail": lambda: vips(jpeg),
        "libvips in linear light": lambda: vips(jpeg, linear=True),
    }
    seconds = {name: fastest(way) for name, way in ways.items()}
    first = seconds["Pillow, draft, Lanczos"]
    return [
        "## Scaling",
        "",
        f"Lanczos on sRGB samples, as used, beside Lanczos in linear light: SSIMULACRA2 "
        f"{statistics.median(changes['linear light']):.1f} (median of the products; lowest "
        f"{min(changes['linear light']):.1f}); with a sharpening of {SHARPEN} "
        f"{statistics.median(changes['sharpened']):.1f} (lowest {min(changes['sharpened']):.1f}). "
        f"Linear light is lighter by {statistics.median(darker):.2f} levels in the median, at "
        f"most {max(darker):.2f}.",
        "",
        "From a JPEG of 12 megapixels to 400 pixels of width, before encoding:",
        "",
        "| | ms | × |",
        "| --- | --- | --- |",
        *(f"| {name} | {1000 * s:.0f} | {s / first:.2f} |" for name, s in seconds.items()),
    ]


Rgb = NDArray[np.uint8]


def in_gamma(rgb: Rgb, size: tuple[int, int]) -> Rgb:
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS))


def in_linear_light(rgb: Rgb, size: tuple[int, int]) -> Rgb:
    planes = [
        np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.LANCZOS))
        for plane in np.moveaxis(TO_LINEAR[rgb], -1, 0)
    ]
    linear = np.stack(planes, -1).clip(0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * encoded), np.uint8)


LEVELS = np.arange(256) / 255
TO_LINEAR = np.where(LEVELS <= 0.04045, LEVELS / 12.92, ((LEVELS + 0.055) / 1.055) ** 2.4).astype(
    np.float32
)


def sharpened(rgb: Rgb) -> Rgb:
    mask = ImageFilter.UnsharpMask(radius=1, percent=round(100 * SHARPEN), threshold=0)
    return np.asarray(Image.fromarray(rgb).filter(mask))


def draft(jpeg: bytes) -> Rgb:
    with Image.open(io.BytesIO(jpeg)) as opened:
        opened.draft(None, (800, 800))
        return np.asarray(opened)


def vips(jpeg: bytes, *, linear: bool = False) -> Rgb:
    import pyvips

    image = pyvips.Image.thumbnail_buffer(jpeg, 400, linear=linear)
    return np.asarray(image.numpy())


if __name__ == "__main__":
    main()
