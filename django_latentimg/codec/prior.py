"""The static prior: from the symbols already coded to the distribution of the next one.

Normative for the bitstream, and in integers throughout. A symbol's expected value and spread are
weighted sums over its causal neighbourhood; the fraction of the one and the logarithm of the other
choose one of the stored tables of cumulative frequencies. Weights and tables are data
(``weights/prior.npz``, made by ``training/prior.py``), one set for each of nine quantiser steps.

Order: anti-diagonals ``x + 2 y``, from the top of each downwards, and within a diagonal channel by
channel. So the west, north, north-west and north-east neighbours are always known, and a whole
diagonal of one channel is computed at once.

::

            NN
        NW  N  NE        the same place in the channels before
    WW  W   ?
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from .quantize import LARGEST_SYMBOL
from .rangecoder import RangeDecoder, RangeEncoder

Integers = NDArray[np.int64]

CHANNELS = 4
MARGIN = 2
"""Zeros around the symbols, for neighbours outside the picture."""

MEAN_BITS = 12
"""Weights of the expected value are in units of 2^-12."""
PHASE_BITS = 3
"""Expected values are rounded down to eighths; the eighth chooses the table."""
SPREAD_BITS = 10
"""Weights of the spread, and the spread itself, are in units of 2^-10 symbols."""

REACH = 32
"""Tables hold the symbols from ``floor(expected) - REACH + 1`` to ``floor(expected) + REACH``."""
ESCAPE = 2 * REACH
"""Index in a table that says: outside, the symbol itself follows in 12 bits."""
ESCAPE_BITS = 12


@dataclass(frozen=True)
class Weights:
    """What training determined for one quantiser step.

    ``mean`` int64 (4, 9), over ``values()``; ``spread`` int64 (4, 11), over ``activities()``;
    ``floor`` int64 (4,), the least spread.
    """

    mean: Integers
    spread: Integers
    floor: Integers


@dataclass(frozen=True)
class Tables:
    """``thresholds`` int64 (S - 1,): spreads that separate the S tables; ``cumulative``: S × 8
    lists of 66 integers."""

    thresholds: Integers
    cumulative: list[list[int]]


@cache
def _data() -> dict[str, NDArray[np.int64]]:
    source = files(__package__) / "weights" / "prior.npz"
    with source.open("rb") as stored, np.load(stored, allow_pickle=False) as arrays:
        return {name: arrays[name].astype(np.int64) for name in arrays.files}


@cache
def load_tables() -> Tables:
    data = _data()
    return Tables(data["thresholds"], data["cumulative"].reshape(-1, ESCAPE + 2).tolist())


@cache
def load_weights(quality: int) -> Weights:
    """Weights of the nearest of the nine steps, qualities 0, 12.5, 25 ... 100."""
    data = _data()
    nearest = (2 * quality + 12) // 25
    return Weights(data["mean"][nearest], data["spread"][nearest], data["floor"][nearest])


def values(own: Integers, before: Integers) -> Integers:
    """Inputs of the expected value, int64 (9, n).

    ``own`` (6, n): W, N, NW, NE, WW, NN of the channel; ``before`` (3, n): the same place in the
    other three channels, 0 where not yet coded.
    """
    return np.concatenate([own, before])


def activities(own: Integers, before: Integers, west: Integers, north: Integers) -> Integers:
    """Inputs of the spread, int64 (11, n): how much the symbols change nearby.

    ``west``, ``north`` (3, n): W and N of the other channels; ``before`` as in ``values()``, with
    W + N halved (rounded down) where not yet coded, which makes its term nearly 0.
    """
    w, n, nw, ne, ww, nn = own
    changes: Integers = np.abs(
        np.concatenate(
            [
                np.stack([w - nw, n - nw, n - ne, w - ww, n - nn]),
                west - north,
                2 * before - west - north,
            ]
        )
    )
    return changes


OTHERS = tuple(tuple(c for c in range(CHANNELS) if c != own) for own in range(CHANNELS))


def neighbours(padded: Integers, channel: int, places: Integers) -> tuple[Integers, Integers]:
    """(values, activities) of one channel at ``places``, flat indices into a padded plane.

    ``padded``: int64 (4, h + 2 MARGIN, w + 2 MARGIN). Channels from ``channel`` on are not read at
    ``places`` themselves.
    """
    stride = padded.shape[2]
    planes = padded.reshape(CHANNELS, -1)
    offsets = np.array([-1, -stride, -stride - 1, -stride + 1, -2, -2 * stride])
    own = planes[channel][places + offsets[:, None]]
    others = list(OTHERS[channel])
    west = planes[others][:, places - 1]
    north = planes[others][:, places - stride]
    known = planes[others[:channel]][:, places]
    unknown = np.zeros((CHANNELS - 1 - channel, len(places)), np.int64)
    middle = (west[channel:] + north[channel:]) // 2
    return (
        values(own, np.concatenate([known, unknown])),
        activities(own, np.concatenate([known, middle]), west, north),
    )


def distributions(
    inputs: tuple[Integers, Integers], channel: int, weights: Weights, tables: Tables
) -> tuple[Integers, Integers]:
    """(symbol at index 0 of the table, table's index) for each place.

    With |symbols| < 2^11, weights < 2^16 and 11 inputs, every sum stays below 2^32.
    """
    expected = weights.mean[channel] @ inputs[0] >> (MEAN_BITS - PHASE_BITS)
    spread = weights.floor[channel] + weights.spread[channel] @ inputs[1]
    scale = np.searchsorted(tables.thresholds, spread, side="right")
    phases = 1 << PHASE_BITS
    first = (expected >> PHASE_BITS) - REACH + 1
    return first, scale * phases + (expected & (phases - 1))


def diagonals(height: int, width: int) -> list[Integers]:
    """Flat indices into a padded plane, one array for each anti-diagonal ``x + 2 y``."""
    stride = width + 2 * MARGIN
    result: list[Integers] = []
    for diagonal in range(width + 2 * height - 2):
        y = np.arange(max(0, (diagonal - width + 2) // 2), min(height - 1, diagonal // 2) + 1)
        result.append((y + MARGIN) * stride + (diagonal - 2 * y + MARGIN))
    return result


def encode_symbols(symbols: Integers, quality: int) -> bytes:
    """int64 symbols (4, h, w), |symbol| <= 2047 -> entropy-coded bytes."""
    weights, tables = load_weights(quality), load_tables()
    _, height, width = symbols.shape
    padded = np.pad(symbols, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))
    planes = padded.reshape(CHANNELS, -1)
    order = diagonals(height, width)
    everywhere = np.concatenate(order)
    coded: list[tuple[list[int], list[int], list[int]]] = []
    for channel in range(CHANNELS):
        first, table = distributions(
            neighbours(padded, channel, everywhere), channel, weights, tables
        )
        symbol = planes[channel][everywhere]
        coded.append((symbol.tolist(), (symbol - first).tolist(), table.tolist()))

    encoder = RangeEncoder()
    start = 0
    for places in order:
        end = start + len(places)
        for symbol_list, index_list, table_list in coded:
            for at in range(start, end):
                cumulative = tables.cumulative[table_list[at]]
                index = index_list[at]
                if 0 <= index < ESCAPE:
                    low = cumulative[index]
                    encoder.encode(low, cumulative[index + 1] - low)
                else:
                    low = cumulative[ESCAPE]
                    encoder.encode(low, cumulative[ESCAPE + 1] - low)
                    encoder.encode_bits(symbol_list[at] + LARGEST_SYMBOL, ESCAPE_BITS)
        start = end
    return encoder.finish()


def decode_symbols(data: bytes, height: int, width: int, quality: int) -> Integers:
    """Inverse of ``encode_symbols``: int64 (4, height, width). Raises ``BlobError``."""
    weights, tables = load_weights(quality), load_tables()
    padded = np.zeros((CHANNELS, height + 2 * MARGIN, width + 2 * MARGIN), np.int64)
    planes = padded.reshape(CHANNELS, -1)
    decoder = RangeDecoder(data)
    for places in diagonals(height, width):
        for channel in range(CHANNELS):
            first, table = distributions(
                neighbours(padded, channel, places), channel, weights, tables
            )
            decoded: list[int] = []
            for base, chosen in zip(first.tolist(), table.tolist(), strict=True):
                index = decoder.decode(tables.cumulative[chosen])
                if index == ESCAPE:
                    # 4095, which no encoder writes, is read as the largest symbol.
                    raw = decoder.decode_bits(ESCAPE_BITS) - LARGEST_SYMBOL
                    decoded.append(min(raw, LARGEST_SYMBOL))
                else:
                    decoded.append(min(max(base + index, -LARGEST_SYMBOL), LARGEST_SYMBOL))
            planes[channel][places] = decoded
    decoder.finish()
    return padded[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
