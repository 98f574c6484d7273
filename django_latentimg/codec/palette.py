"""Bühlmann's quantiser (2022): latents as a picture of 256 colours, dithered or not.

Latents go to 8 bits, 255 levels over ±4.2 standard deviations; the four channels of a place are a
colour of a palette made for the picture (k-means), whose error Floyd and Steinberg's dithering
hands on. Where he compressed palette and indices with zlib, our range coder codes an index by how
near its colour is to those of its neighbours and how often it came before. Kept for comparison:
``encode(quantizer="palette")``; ``docs/format.md`` is normative.
"""

import numpy as np
from numpy.typing import NDArray

from .errors import BlobError, ImageError
from .rangecoder import TOTAL, RangeDecoder, RangeEncoder

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]

SIZE = 256
"""Colours of a palette."""
LEVEL = 255 * 0.18215**2 / 255
"""Distance of two levels, scaled latents."""
NOISE_UNIT = 2**-12
"""Of the stored noise, scaled latents."""
HEAD = 2 + 4 * SIZE
LARGEST = 1 << 16
"""Places, at most: indices are coded one by one, some 25,000 a second."""

TRAINED_ON = 1 << 14
"""Places, at most, that the palette is made of, evenly spread."""
ROUNDS = 12
"""Of k-means."""

NEAR = 64
NEARNESS = 1 << 24
"""An index weighs ``NEARNESS // (16 + d // NEAR)²``, times its count, where ``d`` is the squared
distance of its colour from what the neighbours let expect, in levels."""
COUNT_UNIT = 2
"""Of an index that came up, where one that did not counts 1."""


def encode_palette(latents: NDArray[np.float32], *, dither: bool = True) -> bytes:
    """float32 (4, h, w) scaled latents -> payload of the chunk ``P``.

    Raises ``ImageError`` for more than ``LARGEST`` places.
    """
    if latents[0].size > LARGEST:
        raise ImageError(f"A palette serves pictures of at most {64 * LARGEST:,} pixels.")
    levels = to_levels(latents)
    palette = make_palette(levels.reshape(-1, 4))
    indices = nearest_dithered(levels, palette) if dither else nearest(levels, palette)
    error = (levels - palette[indices].astype(np.int64)) * LEVEL
    noise = min(round(float(error.std()) / NOISE_UNIT), 0xFFFF)
    encoder, model = RangeEncoder(), IndexModel(palette, *indices.shape)
    for index in indices.ravel().tolist():
        cumulative = model.cumulative()
        encoder.encode(cumulative[index], cumulative[index + 1] - cumulative[index])
        model.add(index)
    return noise.to_bytes(2, "big") + palette.tobytes() + encoder.finish()


def decode_palette(data: bytes, height: int, width: int) -> tuple[Integers, float]:
    """(levels int64 (4, h, w), standard deviation of their error in scaled latents).

    Raises ``BlobError``.
    """
    if height * width > LARGEST:
        raise BlobError(f"A blob with a palette has at most {64 * LARGEST:,} pixels.")
    if len(data) < HEAD:
        raise BlobError("The blob ends within its palette.")
    noise = int.from_bytes(data[:2], "big") * NOISE_UNIT
    palette = np.frombuffer(data[2:HEAD], np.uint8).reshape(SIZE, 4)
    decoder, model = RangeDecoder(data[HEAD:]), IndexModel(palette, height, width)
    for _ in range(height * width):
        model.add(decoder.decode(model.cumulative()))
    decoder.finish()
    levels = palette[model.indices].reshape(height, width, 4).transpose(2, 0, 1)
    return levels.astype(np.int64), noise


def to_levels(latents: NDArray[np.float32]) -> Integers:
    """float32 (4, h, w) scaled latents -> int64 (h, w, 4) from 0 to 255."""
    levels = np.clip(np.nan_to_num(latents) / (255 * LEVEL) + 0.5, 0, 1) * 255 + 0.5
    integers: Integers = levels.astype(np.int64).transpose(1, 2, 0)
    return integers


def to_latents(levels: Integers) -> NDArray[np.float32]:
    """int64 (4, h, w) from 0 to 255 -> float32 scaled latents."""
    return ((levels - 127.5) * LEVEL).astype(np.float32)


def make_palette(colours: Integers) -> Bytes:
    """int64 (n, 4) -> uint8 (256, 4) by k-means, in the order of their sum.

    Where fewer colours do, the others at the end are 0: they are nobody's neighbours.
    """
    few = colours[:: max(1, len(colours) // TRAINED_ON)].astype(np.float32)
    # Evenly along the order of the sum: deterministic, and no two start together.
    order = np.argsort(few.sum(1), kind="stable")
    centres = few[order[np.linspace(0, len(few) - 1, SIZE).astype(int)]]
    for _ in range(ROUNDS):
        chosen = _nearest(few, centres)
        counts = np.bincount(chosen, minlength=SIZE)
        for channel in range(4):
            sums = np.bincount(chosen, weights=few[:, channel], minlength=SIZE)
            means = sums / np.maximum(counts, 1)
            centres[:, channel] = np.where(counts, means, centres[:, channel])
        # A colour that nobody chose goes to who is served worst.
        unused = np.flatnonzero(counts == 0)
        distance = np.square(few - centres[chosen]).sum(1)
        worst = np.argsort(-distance, kind="stable")[: len(unused)]
        centres[unused[: len(worst)]] = few[worst]
    rounded = np.clip(np.rint(centres), 0, 255).astype(np.uint8)
    distinct = np.unique(rounded, axis=0)
    palette = np.zeros((SIZE, 4), np.uint8)
    palette[: len(distinct)] = distinct[np.argsort(distinct.astype(int).sum(1), kind="stable")]
    return palette


def _nearest(colours: NDArray[np.float32], centres: NDArray[np.float32]) -> Integers:
    """Index of the nearest centre of each colour (n,)."""
    offsets = np.square(centres).sum(1)
    parts = [
        (offsets - 2 * part @ centres.T).argmin(1)
        for part in np.array_split(colours, -(-len(colours) // 4096))
    ]
    return np.concatenate(parts)


def nearest(levels: Integers, palette: Bytes) -> Integers:
    """int64 (h, w, 4) -> indices (h, w)."""
    flat = levels.reshape(-1, 4).astype(np.float32)
    return _nearest(flat, palette.astype(np.float32)).reshape(levels.shape[:2])


def nearest_dithered(levels: Integers, palette: Bytes) -> Integers:
    """The same with error diffusion (Floyd and Steinberg, 1976), row by row."""
    height, width, _ = levels.shape
    colours = palette.astype(np.float32)
    offsets = np.square(colours).sum(1)
    indices = np.empty((height, width), np.int64)
    below = np.zeros((width + 2, 4), np.float32)
    for y in range(height):
        owed, below = below, np.zeros_like(below)
        for x in range(width):
            wanted = np.minimum(np.maximum(levels[y, x] + owed[x + 1], 0), 255)
            index = int((offsets - 2 * (colours @ wanted)).argmin())
            indices[y, x] = index
            error = (wanted - colours[index]) / 16
            owed[x + 2] += 7 * error
            below[x] += 3 * error
            below[x + 1] += 5 * error
            below[x + 2] += error
    return indices


class IndexModel:
    """Distribution of the next index, in exact integers; from the left, row by row."""

    def __init__(self, palette: Bytes, height: int, width: int) -> None:
        self.palette = palette.astype(np.int64)
        self.width = width
        self.indices = np.zeros(height * width, np.int64)
        self.position = 0
        self.counts = np.ones(SIZE, np.int64)

    def expected(self) -> Integers:
        """Colour that the neighbours let expect: int64 (4,), in eighths of a level."""
        at, width = self.position, self.width
        x = at % width
        neighbours = []
        if x:
            neighbours.append((3, at - 1))
        if at >= width:
            neighbours.append((3, at - width))
            if x:
                neighbours.append((1, at - width - 1))
            if x + 1 < width:
                neighbours.append((1, at - width + 1))
        if not neighbours:
            return np.full(4, 8 * 128)
        total = sum(weight for weight, _ in neighbours)
        summed = sum(weight * self.palette[self.indices[place]] for weight, place in neighbours)
        colour: Integers = 8 * np.asarray(summed) // total
        return colour

    def cumulative(self) -> list[int]:
        """257 cumulative frequencies, from 0 to ``TOTAL``; every index has at least 1."""
        difference = 8 * self.palette - self.expected()
        distance = (difference * difference).sum(1) // 64
        weights = self.counts * (NEARNESS // np.square(16 + distance // NEAR))
        frequencies = 1 + weights * (TOTAL - SIZE) // weights.sum()
        frequencies[int(frequencies.argmax())] += TOTAL - int(frequencies.sum())
        return [0, *np.cumsum(frequencies).tolist()]

    def add(self, index: int) -> None:
        """The next index is known now."""
        self.indices[self.position] = index
        self.counts[index] += COUNT_UNIT
        self.position += 1
