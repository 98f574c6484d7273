"""Patches: rectangles of the source kept as AVIF or WebP, blended over the decoded picture.

What latents cannot hold, a face or a line of small print, is cut out of the source. All cuttings
stand one below the other in one file, the atlas, because a file of its own for each would cost
more than the cuttings themselves. ``docs/format.md`` is normative.
"""

import io
import struct
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import embedded
from .errors import BlobError

Rgb = NDArray[np.uint8]
Format = Literal["AVIF", "WEBP"]
FORMATS: tuple[Format, ...] = get_args(Format)

GRID = 8
"""Patches begin and end at multiples of it, so they fit the pixels of every decoder head."""
FEATHER = 8
"""Pixels over which a patch fades in; none along the picture's border."""
MOST = 255
"""Patches of a blob."""

_BOX = struct.Struct(">4H")


class Box(NamedTuple):
    """A rectangle of the picture, pixels; ``right`` and ``bottom`` are outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> int:
        return max(0, self.right - self.left) * max(0, self.bottom - self.top)

    def __and__(self, other: "Box") -> "Box":
        """What two boxes share; without area where they do not meet."""
        return Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )

    def covers(self, other: "Box") -> bool:
        """Whether another box lies within this one."""
        return self & other == other

    @property
    def window(self) -> tuple[slice, slice]:
        """Index of an array (H, W, ...)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def scaled(self, scale: int) -> "Box":
        """In a picture of 1/``scale`` of the size."""
        return Box(*(edge // scale for edge in self))


class Patches:
    """Cuttings and where they belong."""

    def __init__(self, boxes: Sequence[Box], cuttings: Sequence[Image.Image]) -> None:
        self.boxes, self.cuttings = boxes, cuttings

    def blend(self, rgb: Rgb, scale: int = 1) -> Rgb:
        """Put them over a decoded picture, uint8 (H/scale, W/scale, 3), on the padded grid."""
        height, width = rgb.shape[:2]
        blended = rgb.copy()
        for whole, cutting in zip(self.boxes, self.cuttings, strict=True):
            box = whole.scaled(scale)
            size = box.right - box.left, box.bottom - box.top
            patch = np.asarray(cutting.resize(size, Image.Resampling.LANCZOS), np.float32)
            weight = np.outer(
                _ramp(box.top, box.bottom, height, FEATHER // scale),
                _ramp(box.left, box.right, width, FEATHER // scale),
            )[..., None]
            under = blended[box.window]
            mixed = under + weight * (patch - under)
            blended[box.window] = np.rint(mixed).astype(np.uint8)
        return blended


def _ramp(start: int, stop: int, end: int, feather: int) -> NDArray[np.float32]:
    """Weights along one axis: rising to 1 from each side that is not the picture's border."""
    distance = np.arange(stop - start, dtype=np.float32) + 0.5
    weights = np.ones_like(distance)
    if start > 0:
        weights = np.minimum(weights, distance / feather)
    if stop < end:
        weights = np.minimum(weights, distance[::-1] / feather)
    return weights


def encode_patches(rgb: Rgb, boxes: Sequence[Box], format: Format, quality: int) -> bytes:
    """Payload of the chunk ``R``.

    ``rgb``: uint8 (H, W, 3), padded to multiples of 8; ``boxes``: 1 to 255 of them, on the grid.
    """
    width = max(box.right - box.left for box in boxes)
    rows = []
    for box in boxes:
        cutting = rgb[box.window]
        # Beyond a narrow cutting its last column goes on: nothing costs fewer bytes.
        missing = width - cutting.shape[1]
        rows.append(np.pad(cutting, ((0, 0), (0, missing), (0, 0)), mode="edge"))
    atlas = np.concatenate(rows)
    if format == "AVIF":
        file = embedded.bare(embedded.encode_avif(atlas, quality))
    else:
        target = io.BytesIO()
        Image.fromarray(atlas).save(target, format, quality=quality, method=6)
        file = target.getvalue()
    places = b"".join(
        _BOX.pack(
            box.left // GRID,
            box.top // GRID,
            (box.right - box.left) // GRID,
            (box.bottom - box.top) // GRID,
        )
        for box in boxes
    )
    return bytes([len(boxes)]) + places + file


def decode_patches(payload: bytes, height: int, width: int) -> Patches:
    """Inverse of ``encode_patches`` for a padded picture of this size in pixels.

    Raises ``BlobError``.
    """
    count = payload[0] if payload else 0
    start = 1 + count * _BOX.size
    if not count or len(payload) <= start:
        raise BlobError("The blob ends within its patches.")
    boxes = []
    for place in _BOX.iter_unpack(payload[1:start]):
        left, top, columns, rows = (GRID * value for value in place)
        boxes.append(Box(left, top, left + columns, top + rows))
    if any(not box.area or box.right > width or box.bottom > height for box in boxes):
        raise BlobError("A patch does not lie within its picture.")
    size = max(box.right - box.left for box in boxes), sum(box.bottom - box.top for box in boxes)
    if size[0] * size[1] > height * width:
        raise BlobError("The blob's patches are larger than its picture.")
    atlas = Image.fromarray(embedded.decode(payload[start:], FORMATS, *size))
    cuttings, top = [], 0
    for box in boxes:
        rows = box.bottom - box.top
        cuttings.append(atlas.crop((0, top, box.right - box.left, top + rows)))
        top += rows
    return Patches(boxes, cuttings)


def fits(boxes: Sequence[Box], height: int, width: int) -> bool:
    """Whether a blob can hold these patches of a padded picture."""
    if not 1 <= len(boxes) <= MOST or max(height, width) > GRID * 0xFFFF:
        return False
    rows = sum(box.bottom - box.top for box in boxes)
    columns = max(box.right - box.left for box in boxes)
    return rows * columns <= height * width and rows <= 0x3FFF  # WebP's largest side


def on_grid(box: Box, height: int, width: int) -> Box:
    """The box with room to fade around it, on the grid, within a padded picture of this size."""
    left, top = ((edge - FEATHER) // GRID * GRID for edge in (box.left, box.top))
    right, bottom = (-(-(edge + FEATHER) // GRID) * GRID for edge in (box.right, box.bottom))
    return Box(max(0, left), max(0, top), min(width, right), min(height, bottom))


def merge(boxes: Sequence[Box]) -> list[Box]:
    """Join boxes whose common hull is hardly larger than they are; in reading order."""
    merged = sorted(set(boxes), key=lambda box: (box.top, box.left))
    changed = True
    while changed:
        changed = False
        for number, box in enumerate(merged):
            for other in merged[number + 1 :]:
                hull = Box(
                    min(box.left, other.left),
                    min(box.top, other.top),
                    max(box.right, other.right),
                    max(box.bottom, other.bottom),
                )
                if hull.area <= 1.1 * (box.area + other.area):
                    merged.remove(box)
                    merged.remove(other)
                    merged.append(hull)
                    merged.sort(key=lambda box: (box.top, box.left))
                    changed = True
                    break
            if changed:
                break
    return merged
