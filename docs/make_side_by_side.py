"""The table and the pictures of side-by-side.md: ``python -m docs.make_side_by_side``.

The table is of the Kodak photographs' centres of 512×512 pixels; each codec gets the bytes that
Bühlmann's scheme takes for that very crop. The pictures are of photographs that ship with
scikit-image and scikit-learn, because other people's pictures stay out of the repository. Writes
both into ``docs``; what stands between the page's two markers is replaced.
"""

import argparse
import multiprocessing
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import skimage
import sklearn
from PIL import Image, ImageDraw, ImageFont

from benchmarks.codecs import Codec, buehlmann, latentimg, pillow
from benchmarks.metrics import Lpips, Pixels, centre_crop, psnr, ssimulacra2
from django_latentimg.conf import Values

DOCS = Path(__file__).parent
PAGE, IMAGES = DOCS / "side-by-side.md", DOCS / "images"
BEGIN, END = "<!-- begin: make_side_by_side.py -->", "<!-- end -->"

FOLDERS = (
    Path(skimage.__file__).parent / "data",
    Path(sklearn.__file__).parent / "datasets" / "images",
)
SHORTEST = 400
"""Pixels of the shorter side; a smaller photograph shows little."""
SHOWN = 160
"""Pixels of the square that is shown, at twice the size: the one in the middle."""
ZOOM = 2
COLUMNS = 4
FONT = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
"""Pillow's own has no ü."""
LARGEST_FILE = 250_000

QUALITIES = tuple(float(quality) for quality in range(101))
SCHEME = "Bühlmann"
OURS = f"latentimg effort {Values.EFFORT}"


class Coded(NamedTuple):
    data: bytes
    rgb: Pixels


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--shared", default="../shared", type=Path)
    arguments.add_argument("--processes", type=int, default=os.cpu_count())
    given = arguments.parse_args()

    kodak = sorted((given.shared / "photos/kodak").glob("*.png"))
    prepare = prepare_process, (given.shared,)
    with multiprocessing.get_context("spawn").Pool(given.processes, *prepare) as pool:
        measured = pool.map(measure, kodak, chunksize=1)
        shown = pool.map(draw, photographs(), chunksize=1)
    text = "\n".join([table(measured), *shown])
    start, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{start}{BEGIN}\n\n{text}\n{END}{rest.split(END)[1]}")
    print(text)


_codecs: list[Codec] = []
_lpips: list[Lpips] = []


def prepare_process(shared: Path) -> None:
    import torch

    torch.set_num_threads(1)
    _codecs[:] = all_codecs(str(shared / "models/taesd"))
    _lpips[:] = [Lpips(shared / "metrics/lpips_squeeze")]


def all_codecs(taesd_folder: str) -> list[Codec]:
    """Bühlmann's scheme among them, whose one size the others get."""
    import pillow_jxl  # noqa: F401

    return [
        pillow("JPEG", "JPEG", QUALITIES, optimize=True, progressive=True),
        pillow("WebP m6", "WEBP", QUALITIES, method=6),
        pillow("AVIF s4", "AVIF", QUALITIES, speed=4),
        pillow("JPEG XL", "JXL", QUALITIES, effort=7),
        buehlmann(taesd_folder),
        latentimg(Values.EFFORT, QUALITIES[1:]),
    ]


def photographs() -> list[Path]:
    """All in colour that are large enough, in alphabetical order; of a stereo pair, the left."""
    found = []
    for path in sorted((p for folder in FOLDERS for p in folder.iterdir()), key=lambda p: p.name):
        if path.suffix not in (".png", ".jpg") or path.stem in NO_PHOTOGRAPHS:
            continue
        with Image.open(path) as opened:
            if opened.mode == "RGB" and min(opened.size) >= SHORTEST:
                found.append(path)
    return found


NO_PHOTOGRAPHS = ("hubble_deep_field", "ihc", "phantom", "retina", "motorcycle_right")
"""Through a telescope, a microscope and an ophthalmoscope; drawn; and one that is there twice."""


def coded(codec: Codec, rgb: Pixels, limit: int) -> Coded:
    """At the best parameter that takes at most so many bytes; the lowest, if none does."""
    # Effort takes long and hardly changes the bytes: without it, the search ends nearby.
    quick = latentimg(0, codec.parameters) if codec.name == OURS else codec
    parameter = largest(codec.parameters, lambda each: len(quick.encode(rgb, each)) <= limit)
    data = codec.encode(rgb, parameter)
    while len(data) > limit and parameter > codec.parameters[0]:
        parameter -= 1
        data = codec.encode(rgb, parameter)
    return Coded(data, codec.decode(data))


def largest(parameters: tuple[float, ...], fits: Callable[[float], bool]) -> float:
    """Of rising parameters the last that fits, by bisection; the first, if none does."""
    low, high = 0, len(parameters)
    while high - low > 1:
        middle = (low + high) // 2
        if fits(parameters[middle]):
            low = middle
        else:
            high = middle
    return parameters[low]


def at_equal_bytes(rgb: Pixels) -> dict[str, Coded]:
    """What each codec makes of a picture in the bytes of Bühlmann's scheme."""
    scheme = next(codec for codec in _codecs if codec.name == SCHEME)
    limit = len(scheme.encode(rgb, scheme.parameters[0]))
    return {codec.name: coded(codec, rgb, limit) for codec in _codecs}


def measure(path: Path) -> dict[str, list[float]]:
    """For every codec: bytes, PSNR, SSIMULACRA2, LPIPS."""
    rgb = centre_crop(path)
    return {
        name: [
            len(file.data),
            psnr(rgb, file.rgb),
            ssimulacra2(rgb, file.rgb),
            _lpips[0](rgb, file.rgb),
        ]
        for name, file in at_equal_bytes(rgb).items()
    }


def table(measured: Iterable[dict[str, list[float]]]) -> str:
    pictures = list(measured)
    lines = [
        "| codec | bytes | PSNR dB | SSIMULACRA2 | LPIPS |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in pictures[0]:
        size, *means = np.mean([of[name] for of in pictures], axis=0)
        cells = f"{size:,.0f}", f"{means[0]:.2f}", f"{means[1]:.1f}", f"{means[2]:.3f}"
        lines.append(f"| {title(name)} | " + " | ".join(cells).replace("-", "−") + " |")
    return "\n".join(lines) + "\n"


def title(name: str) -> str:
    return f"**ours, effort {Values.EFFORT}**" if name == OURS else name


def draw(path: Path) -> str:
    """Save the row of a photograph; its Markdown."""
    rgb = centre_crop(path)
    files = at_equal_bytes(rgb)
    shown = {"source": rgb} | {name: file.rgb for name, file in files.items()}
    left, top = ((length - SHOWN) // 2 for length in (rgb.shape[1], rgb.shape[0]))
    font = ImageFont.truetype(FONT, 14)
    side, gap, caption = ZOOM * SHOWN, 8, 24
    rows = -(-len(shown) // COLUMNS)
    size = COLUMNS * (side + gap) - gap, rows * (side + caption)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for number, (name, pixels) in enumerate(shown.items()):
        x, y = number % COLUMNS * (side + gap), number // COLUMNS * (side + caption)
        crop = Image.fromarray(pixels[top : top + SHOWN, left : left + SHOWN])
        sheet.paste(crop.resize((side, side), Image.Resampling.LANCZOS), (x, y + caption))
        label = title(name).strip("*")
        if name in files:
            label = f"{label}, {len(files[name].data):,} B"
        pen.text((x + 2, y + 2), label, "black", font)
    target = IMAGES / f"side-by-side-{path.stem}.webp"
    target.parent.mkdir(exist_ok=True)
    for quality in range(95, 0, -5):
        sheet.save(target, "WEBP", quality=quality, method=6)
        if target.stat().st_size <= LARGEST_FILE:
            break
    height, width = rgb.shape[:2]
    return (
        f"### {path.stem}\n\nWhole crop: {width} × {height} pixels.\n\n"
        f"![{path.stem}: the source and every codec](images/{target.name})\n"
    )


if __name__ == "__main__":
    main()
