"""What two engines read in a picture: how ``benchmarks.guard`` judges text.

Tesseract (its command, with English data) and RapidOCR (PaddleOCR's networks, by which the guard
finds text, with their own settings here). Words are what stands between spaces, without punctuation
at their ends and without regard to case.
"""

import csv
import io
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from .metrics import Pixels

Words = Counter[str]
Engine = Callable[[Pixels, float], Words]

DOUBLED = 500_000
"""Pixels. Smaller pictures are read at twice their size: their letters are too small for either."""
SURE = 0.8
"""Confidence from which a word of the source counts. What is read again may be less sure."""


def words(texts: Iterable[str]) -> Words:
    """Those of two letters or digits at least: what is shorter is mostly not there."""
    stripped = (
        word.strip("".join(mark for mark in word if not mark.isalnum()))
        for text in texts
        for word in text.casefold().split()
    )
    return Counter(word for word in stripped if len(word) > 1)


def tesseract(rgb: Pixels, least: float) -> Words:
    """Of sparse text in no order, each word at least so sure, 0 to 1."""
    file = io.BytesIO()
    enlarged(rgb).save(file, "PNG", compress_level=1)
    table = subprocess.run(
        ["tesseract", "-", "-", "--psm", "11", "tsv"],
        input=file.getvalue(),
        capture_output=True,
        check=True,
        env={**os.environ, "OMP_THREAD_LIMIT": "1"},
    ).stdout.decode()
    rows = csv.DictReader(table.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return words(row["text"] or "" for row in rows if float(row["conf"]) >= 100 * least)


def rapidocr(rgb: Pixels, least: float) -> Words:
    """Each line at least so sure, 0 to 1."""
    read = _rapidocr()(
        np.asarray(enlarged(rgb))[..., ::-1], use_det=True, use_cls=False, use_rec=True
    )
    if read.txts is None:
        return Counter()
    lines = zip(read.txts, read.scores, strict=True)
    return words(text for text, score in lines if score >= least)


@cache
def _rapidocr() -> Any:
    from rapidocr import RapidOCR

    return RapidOCR(params={"Global.log_level": "error"})


ENGINES: dict[str, Engine] = {
    "Tesseract": tesseract,
    "RapidOCR": rapidocr,
}


def steady(engine: Engine, rgb: Pixels) -> Words:
    """What an engine is sure of, and reads as well in copies that nobody tells from the picture."""
    moved = np.pad(rgb, ((1, 0), (1, 0), (0, 0)), mode="edge")
    height, width = rgb.shape[:2]
    larger = Image.fromarray(rgb).resize(
        (width * 21 // 20, height * 21 // 20), Image.Resampling.LANCZOS
    )
    found = engine(rgb, SURE)
    for copy in (moved, np.asarray(larger)):
        found = found & engine(copy, 0.0)
    return found


def read_again(reference: Words, decoded: Words) -> int:
    """How many of the reference's words the decoded picture still shows."""
    return (reference & decoded).total()


def enlarged(rgb: Pixels) -> Image.Image:
    picture = Image.fromarray(rgb)
    if picture.width * picture.height >= DOUBLED:
        return picture
    return picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.LANCZOS)
