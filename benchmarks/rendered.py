"""Pictures of text at 8 to 32 px, the same ones each time: a hard case for ``benchmarks.guard``.

At every size on a plain ground, on a gradient and on a photograph, once lightened under dark
letters, once darkened under light ones. The photographs ship with scikit-image; the font, DejaVu
Sans, with Matplotlib.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .metrics import Pixels

SIZES = (8, 10, 12, 16, 24, 32)
"""Pixels of the font's em."""
WIDTH, HEIGHT = 512, 384
PHOTOGRAPHS = ("astronaut.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
TEXT = """
Organic cotton jacket, machine wash at 30 degrees. Do not bleach or tumble dry. Made in Portugal for
the winter season. Sweet almond chocolate contains milk, soya and hazelnuts; store in a cool dry
place, best before the date on the lid. Energy 2235 kJ per 100 g, of which sugars 48 g, salt 0.25 g.
Handle with care: keep upright and away from heat. Ships within 14 days, price 129.95 including
delivery.
"""
WORDS = TEXT.split()

Ground = Literal["plain", "gradient", "photograph"]


def rendered() -> Iterator[tuple[str, Pixels]]:
    """24 names and pictures, uint8 (H, W, 3)."""
    for number, size in enumerate(SIZES):
        dark = bool(number % 2)
        kinds: tuple[tuple[Ground, bool], ...] = (
            ("plain", dark),
            ("gradient", not dark),
            ("photograph", True),
            ("photograph", False),
        )
        for variant, (ground, dark) in enumerate(kinds):
            picture = Image.fromarray(backdrop(ground, dark, number + variant))
            write(picture, size, dark, number + variant)
            yield f"{size:02}px-{ground}-{'dark' if dark else 'light'}", np.asarray(picture)


def backdrop(ground: Ground, dark: bool, number: int) -> Pixels:
    """What stands behind dark or light letters, uint8 (H, W, 3)."""
    target = np.array([244, 240, 228] if dark else [28, 34, 52], np.float32)
    if ground == "plain":
        picture = np.broadcast_to(target, (HEIGHT, WIDTH, 3))
    elif ground == "gradient":
        other = np.array([150, 190, 210] if dark else [120, 50, 40], np.float32)
        share = (np.linspace(0, 1, HEIGHT)[:, None] + np.linspace(0, 1, WIDTH)) / 2
        picture = target + share[..., None] * (other - target)
    else:
        picture = 0.55 * target + 0.45 * photograph(PHOTOGRAPHS[number % len(PHOTOGRAPHS)])
    return np.rint(picture).astype(np.uint8)


def photograph(name: str) -> Pixels:
    """The middle of the size of the pictures; enlarged where it is too small."""
    import skimage

    path = Path(skimage.__file__).parent / "data" / name
    with Image.open(path) as opened:
        source = opened.convert("RGB")
    factor = max(1, WIDTH / source.width, HEIGHT / source.height)
    source = source.resize((round(factor * source.width), round(factor * source.height)))
    left, top = (source.width - WIDTH) // 2, (source.height - HEIGHT) // 2
    return np.asarray(source.crop((left, top, left + WIDTH, top + HEIGHT)))


def write(picture: Image.Image, size: int, dark: bool, start: int) -> None:
    """Lines of at most 40 words, from another word of the text each time."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    font = ImageFont.truetype(str(path), size)
    draw = ImageDraw.Draw(picture)
    ink = (22, 22, 30) if dark else (250, 248, 240)
    left, top, line = 24, 24, ""
    words = [WORDS[(7 * start + number) % len(WORDS)] for number in range(40)]
    for word in [*words, ""]:
        if word and draw.textlength(f"{line} {word}", font) <= WIDTH - 2 * left:
            line = f"{line} {word}".strip()
            continue
        if top + 1.6 * size > HEIGHT - 24:
            break
        draw.text((left, top), line, ink, font)
        top, line = top + round(1.6 * size), word
