"""Floors: what must be true of every part of a decoded picture, whatever its mean.

A mean forgives a misspelt label. So text, faces, what the application points out, and every spot
must keep the source's structure, and every spot its colour. Structure is the contrast and structure
term of SSIM (Wang et al., 2004) on luma. The floors were set on training photographs, so that AVIF
of middling quality keeps them all, and on rendered text, so that what keeps them can be read.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .patches import Box

Rgb = NDArray[np.uint8]
Kind = Literal["text", "face", "focal", "structure", "colour"]

FOCAL_FLOOR = 0.9
FACE_FLOOR = 0.9
STRUCTURE_FLOOR = 0.6
COLOUR_FLOOR = 24.0
"""Levels that the mean colour of 16×16 pixels may be off, in one channel."""

LOST_AT_20 = 0.02
"""Of structure, that a line of text 20 pixels high may lose and still be read for certain."""
LOST_EXPONENT = 2.4
"""Of height: what a line of 12 pixels may lose is 0.006, of 29 pixels 0.05, on plain grounds and on
photographs, by two engines (``training/legibility.py``)."""
MOST_LOST = 0.1

SHARPEST: dict[Kind, int] = {"text": 32, "face": 96}
"""Pixels. A line that is higher, a face that is larger is judged smaller: the weave that letters
are printed on and pores do not make them."""
SPOT_SCALE = 4
"""Spots are judged in a picture of a quarter of the size: texture need not match line by line."""
WINDOW = 8
STABILISER = 4.0
"""Standard deviation in levels; variation well below it does not count."""
SPOT_STABILISER = 12.0
COLOUR_BLOCK = 16

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def text_floor(height: int) -> float:
    """Structure that a line of text so many pixels high must keep."""
    return 1 - min(MOST_LOST, LOST_AT_20 * float((height / 20) ** LOST_EXPONENT))


class Failure(NamedTuple):
    """A part of a picture that is not true enough."""

    kind: Kind
    box: Box
    shortfall: float
    """How far below the floor, as a share of it, times the pixels concerned."""


class Floors:
    """What a source, uint8 (H, W, 3), demands of a decoded picture of its size."""

    def __init__(
        self,
        source: Rgb,
        *,
        text: Sequence[Box] = (),
        faces: Sequence[Box] = (),
        focal: Sequence[Box] = (),
    ) -> None:
        self.source = source
        self.regions: list[tuple[Kind, Box]] = [
            *(("text", box) for box in text),
            *(("face", box) for box in faces),
            *(("focal", box) for box in focal),
        ]

    def failures(self, decoded: Rgb) -> list[Failure]:
        """Of ``decoded``, uint8 (H, W, 3)."""
        return [*self._region_failures(decoded), *self._spot_failures(decoded)]

    def text_structures(self, decoded: Rgb) -> list[tuple[int, float]]:
        """(height in pixels, structure that it has kept) of every line of text."""
        return [
            (height(box), self._kept(decoded, kind, box))
            for kind, box in self.regions
            if kind == "text"
        ]

    def _kept(self, decoded: Rgb, kind: Kind, box: Box) -> float:
        scale = 1
        while height(box) > scale * SHARPEST.get(kind, height(box)):
            scale *= 2
        pair = self.source[box.window], decoded[box.window]
        return float(structure(*pair, scale, STABILISER).mean())

    def _region_failures(self, decoded: Rgb) -> list[Failure]:
        failures = []
        for kind, box in self.regions:
            floor = FACE_FLOOR if kind == "face" else FOCAL_FLOOR
            if kind == "text":
                floor = text_floor(height(box))
            found = self._kept(decoded, kind, box)
            if found < floor:
                failures.append(Failure(kind, box, (1 - found / floor) * box.area))
        return failures

    def _spot_failures(self, decoded: Rgb) -> list[Failure]:
        likeness = structure(self.source, decoded, SPOT_SCALE, SPOT_STABILISER)
        side, every = SPOT_SCALE * WINDOW, SPOT_SCALE * WINDOW // 2
        failures = [
            Failure(
                "structure", box, (1 - float(likeness[row, column]) / STRUCTURE_FLOOR) * box.area
            )
            for row, column in np.argwhere(likeness < STRUCTURE_FLOOR)
            if (box := self._spot(row * every, column * every, side)).area
        ]
        error = colour_error(self.source, decoded)
        every = COLOUR_BLOCK // 2
        failures += [
            Failure("colour", box, (float(error[row, column]) / COLOUR_FLOOR - 1) * box.area)
            for row, column in np.argwhere(error > COLOUR_FLOOR)
            if (box := self._spot(row * every, column * every, COLOUR_BLOCK)).area
        ]
        return failures

    def _spot(self, top: int, left: int, side: int) -> Box:
        height, width = self.source.shape[:2]
        return Box(left, top, min(left + side, width), min(top + side, height))


def height(box: Box) -> int:
    """Pixels of the shorter side: of text, which may run downwards too, the lines' height."""
    return min(box.right - box.left, box.bottom - box.top)


def structure(source: Rgb, decoded: Rgb, scale: int, stabiliser: float) -> NDArray[np.float32]:
    """Likeness, -1 to 1, of every window of 8×8 luma samples at 1/``scale`` of the size.

    Two uint8 (H, W, 3) -> float32; windows overlap by half. A picture smaller than a window is
    one window.
    """
    x, y = (means((rgb @ LUMA)[..., None], scale, scale)[..., 0] for rgb in (source, decoded))
    planes = np.stack([x, y, x * x, y * y, x * y], -1)
    mean_x, mean_y, xx, yy, xy = np.moveaxis(means(planes, WINDOW, WINDOW // 2), -1, 0)
    constant = stabiliser**2
    shared = 2 * (xy - mean_x * mean_y) + constant
    own = np.maximum(xx - mean_x**2, 0) + np.maximum(yy - mean_y**2, 0) + constant
    likeness: NDArray[np.float32] = (shared / own).astype(np.float32)
    return likeness


def colour_error(source: Rgb, decoded: Rgb) -> NDArray[np.float32]:
    """Levels, in the worst channel, by which the mean of every 16×16 pixels is off."""
    difference = source.astype(np.float32) - decoded
    error: NDArray[np.float32] = np.abs(means(difference, COLOUR_BLOCK, COLOUR_BLOCK // 2)).max(-1)
    return error


def means(planes: NDArray[Any], side: int, every: int) -> NDArray[np.float64]:
    """Means of windows of ``side``² samples, one every ``every``: (H, W, C) -> (h, w, C).

    What is left at the right and at the bottom belongs to no window, unless there is no other.
    """
    height, width = planes.shape[:2]
    rows, columns = min(side, height), min(side, width)
    sums = np.zeros((height + 1, width + 1, planes.shape[2]))
    np.cumsum(planes, axis=0, dtype=np.float64, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    tops, lefts = (
        np.arange(0, length - size + 1, every)
        for length, size in ((height, rows), (width, columns))
    )
    corners = (
        sums[np.ix_(tops + rows, lefts + columns)]
        - sums[np.ix_(tops, lefts + columns)]
        - sums[np.ix_(tops + rows, lefts)]
        + sums[np.ix_(tops, lefts)]
    )
    return np.asarray(corners / (rows * columns))
