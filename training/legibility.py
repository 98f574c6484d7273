"""How like its source text must stay to be read: what ``codec/floors.py`` asks of it.

Words that the guard's benchmark does not have, in other fonts, 8 to 24 px, dark and light, on plain
and on photographed grounds (of scikit-image), as AVIF of rising quality. For each: the structure
that the worst line has kept, and how many of the steady words two engines still read
(``benchmarks/ocr.py``). Writes ``training/logs/legibility.csv``; needs the command ``tesseract``.
"""

import csv
from pathlib import Path

import matplotlib
import numpy as np
import skimage
import torch
from PIL import Image, ImageDraw, ImageFont

from benchmarks import ocr
from benchmarks.metrics import Pixels
from django_latentimg.codec import regions
from django_latentimg.codec.floors import Floors
from django_latentimg.codec.guard import Avif

LOG = Path(__file__).parent / "logs" / "legibility.csv"
FONTS = ("DejaVuSerif.ttf", "DejaVuSans-Bold.ttf", "DejaVuSans.ttf")
PHOTOGRAPHS = ("chelsea.png", "grass.png", "brick.png", "gravel.png", "camera.png")
SIZES = (8, 10, 12, 16, 24)
QUALITIES = (40, 55, 65, 75, 85)
WIDTH, HEIGHT = 480, 320
TEXT = """
Rosehip and elderflower cordial pressed in small batches. Shake before opening and keep refrigerated
after that. Contains sulphites 12 mg per litre; not suitable for infants under one year. Bottled by
Harrow Mill, 17 Quay Street, batch 4471-B. Best served chilled with soda, 1 part to 6. Recycle cap,
label and glass separately. Questions? Telephone 0800 555 013 between 9 and 17.
"""
WORDS = TEXT.split()


def legibility() -> None:
    torch.set_num_threads(1)
    cases = [
        (size, ground, dark)
        for size in SIZES
        for ground in ("plain", "photograph")
        for dark in (True, False)
    ]
    engines = list(ocr.ENGINES)
    with LOG.open("w", newline="", buffering=1) as target:
        log = csv.writer(target, lineterminator="\n")
        counts = [f"{engine} {of}" for engine in engines for of in ("words", "read")]
        log.writerow(["size", "ground", "dark", "quality", "height", "structure", *counts])
        for number, (size, ground, dark) in enumerate(cases, 1):
            rgb = page(size, ground, dark, number)
            floors = Floors(rgb, text=regions.text_boxes(rgb))
            steady = {engine: ocr.steady(ocr.ENGINES[engine], rgb) for engine in engines}
            for quality in QUALITIES:
                decoded = Avif.encode(rgb, quality).rgb
                height, worst = min(floors.text_structures(decoded), key=lambda pair: pair[1])
                row: list[object] = [size, ground, dark, quality, height, f"{worst:.4f}"]
                for engine in engines:
                    again = ocr.read_again(steady[engine], ocr.ENGINES[engine](decoded, 0.0))
                    row += [steady[engine].total(), again]
                log.writerow(row)


def page(size: int, ground: str, dark: bool, number: int) -> Pixels:
    """Text on its ground, uint8 (H, W, 3)."""
    plain = np.array([244, 240, 228] if dark else [28, 34, 52], np.float32)
    backdrop = np.broadcast_to(plain, (HEIGHT, WIDTH, 3))
    if ground == "photograph":
        path = Path(skimage.__file__).parent / "data" / PHOTOGRAPHS[number % len(PHOTOGRAPHS)]
        with Image.open(path) as opened:
            photograph = np.asarray(opened.convert("RGB").resize((WIDTH, HEIGHT)), np.float32)
        backdrop = 0.5 * backdrop + 0.5 * photograph
    image = Image.fromarray(np.rint(backdrop).astype(np.uint8))
    drawing = ImageDraw.Draw(image)
    fonts = Path(matplotlib.get_data_path()) / "fonts/ttf"
    font = ImageFont.truetype(str(fonts / FONTS[number % len(FONTS)]), size)
    colour = (20, 20, 24) if dark else (238, 236, 228)
    left, top, word = 12.0, 10, 7 * number
    while top + 1.4 * size < HEIGHT - 6:
        text = WORDS[word % len(WORDS)]
        length = drawing.textlength(f"{text} ", font=font)
        if left + length > WIDTH - 12:
            left, top = 12.0, top + int(1.5 * size)
            continue
        drawing.text((left, top), text, colour, font=font)
        left, word = left + length, word + 1
    return np.asarray(image)
