"""Pictures within a blob: alpha, patches, and what the guard keeps as AVIF.

The blob says already what most of the boxes around an AVIF picture say (ISO/IEC 23008-12; AV1
Image File Format 1.1), and in a file of a kilobyte they are a quarter. So they are left out where
they are the usual ones, and put back before the file is read. ``docs/format.md`` is normative.
"""

import io
import struct
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import pixels
from .errors import BlobError, ImageError

Rgb = NDArray[np.uint8]

AVIF_SPEED = 4

_CONFIGURATION = 3
"""Bytes of the AV1 configuration record that a bare AVIF begins with; its fourth is 0. The first
is 0x81, which no whole file begins with."""


def encode_avif(rgb: Rgb, quality: int) -> bytes:
    """uint8 (H, W, 3) -> an AVIF file."""
    target = io.BytesIO()
    Image.fromarray(rgb).save(target, "AVIF", quality=quality, speed=AVIF_SPEED)
    return target.getvalue()


def bare(file: bytes) -> bytes:
    """The AVIF file without its boxes, where ``whole`` can tell what they were; else the file."""
    start = file.find(b"av1C") + 4
    stored = file[start : start + _CONFIGURATION] + file[len(_boxes(b"", 0, 0, 0)) :]
    start = file.find(b"ispe") + 8
    width, height = struct.unpack(">II", file[start : start + 8])
    return stored if whole(stored, width, height) == file else file


def whole(stored: bytes, width: int, height: int) -> bytes:
    """The file that ``bare`` has made ``stored`` of; what is not bare is returned as it is."""
    if stored[:1] != b"\x81":
        return stored
    coded = stored[_CONFIGURATION:]
    return _boxes(stored[:_CONFIGURATION], width, height, len(coded)) + coded


def _boxes(configuration: bytes, width: int, height: int, length: int) -> bytes:
    """What stands before ``length`` bytes of AV1 in a still sRGB picture without alpha."""
    properties = (
        _box(b"ispe", 0, struct.pack(">II", width, height))
        + _box(b"pixi", 0, bytes([3, 8, 8, 8]))
        + _box(b"av1C", None, configuration.ljust(_CONFIGURATION, b"\0") + b"\0")
        + _box(b"colr", None, b"nclx" + struct.pack(">3HB", 1, 13, 6, 0x80))
    )
    # Of item 1: all four properties, av1C (the third) as one that readers must understand.
    associations = struct.pack(">IHB4B", 1, 1, 4, 1, 2, 0x83, 4)
    entry = _box(b"infe", 2 << 24, struct.pack(">HH4s", 1, 0, b"av01") + b"Color\0")

    def meta(offset: int) -> bytes:
        location = struct.pack(">BBHHHHII", 0x44, 0, 1, 1, 0, 1, offset, length)
        return _box(
            b"meta",
            0,
            _box(b"hdlr", 0, struct.pack(">I4s12xx", 0, b"pict"))
            + _box(b"pitm", 0, struct.pack(">H", 1))
            + _box(b"iloc", 0, location)
            + _box(b"iinf", 0, struct.pack(">H", 1) + entry)
            + _box(
                b"iprp",
                None,
                _box(b"ipco", None, properties) + _box(b"ipma", 0, associations),
            ),
        )

    brands = _box(b"ftyp", None, b"avif\0\0\0\0avifmif1miafMA1B")
    data = struct.pack(">I4s", 8 + length, b"mdat")
    return brands + meta(len(brands + meta(0) + data)) + data


def _box(kind: bytes, version: int | None, content: bytes) -> bytes:
    """``version``: that and the flags, of a full box."""
    start = b"" if version is None else struct.pack(">I", version)
    return struct.pack(">I4s", 8 + len(start + content), kind) + start + content


BOXES = len(_boxes(b"", 0, 0, 0)) - _CONFIGURATION
"""Bytes that a bare AVIF saves."""


def encode_alpha(alpha: NDArray[np.uint8]) -> bytes:
    """uint8 (H, W) -> a greyscale PNG: lossless, of any size."""
    target = io.BytesIO()
    Image.fromarray(alpha).save(target, "PNG", optimize=True)
    return target.getvalue()


def decode(
    stored: bytes, formats: Collection[str], width: int, height: int, *, mode: str = "RGB"
) -> NDArray[Any]:
    """A picture of that size in pixels as uint8 (H, W, 3).

    Raises ``BlobError`` for a damaged one, or of another size, format or mode.
    """
    try:
        image = pixels.open_image(whole(stored, width, height), max_pixels=width * height)
        if image.format not in formats or image.mode != mode or image.size != (width, height):
            raise BlobError("A picture within the blob does not fit its place.")
        return pixels.read(image)[0]
    except ImageError as error:
        raise BlobError("A picture within the blob is damaged.") from error
