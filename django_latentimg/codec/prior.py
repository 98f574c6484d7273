"""The prior: an integer network, from the symbols already coded to the distribution of the next.

Normative for the bitstream. Inputs, weights, activations and outputs are integers, kept in float64
and below 2^53, so every sum is exact in any order and on any machine (Ballé et al., "Integer
networks for data compression with latent-variable models", ICLR 2019). No float ever decides a
probability. Weights and tables are data, of each latent space its own (``weights/prior-*.npz``,
made by ``training/prior.py``).

Order: anti-diagonals ``x + 3 y``, from the top of each downwards, and within a diagonal channel by
channel. So the two rings of neighbours above and to the left are always known, in all channels, and
a whole diagonal of one channel is computed at once.

::

    . . . . .
    . . . . .      all four channels; and the same place in the channels before
    . . ?

The network sees dequantised latents and the quantiser's step, so one serves every step. It
gives a symbol's expected value and the logarithm of its spread, which choose one of the stored
tables of cumulative frequencies.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .quantize import LARGEST_SYMBOL
from .rangecoder import RangeDecoder, RangeEncoder

Integers = NDArray[np.int64]
Exact = NDArray[np.float64]
"""Integers of less than 2^53, as float64."""

CHANNELS = 4
MARGIN = 2
"""Zeros around the symbols, for neighbours outside the picture."""
NEIGHBOURS = tuple((dy, dx) for dy in (-2, -1, 0) for dx in (-2, -1, 0, 1, 2) if dy < 0 or dx < 0)
"""(rows down, columns right), in the order of the network's inputs."""

COLUMNS = 128
"""Places at a time in the first layer: with more, OpenBLAS takes threads, whose start costs several
times what so small a product does."""

UNIT = 256
"""Latents and activations are in units of 1/256."""
LARGEST_LATENT = 16 * UNIT
"""Dequantised latents beyond it are clipped before the network sees them."""
WEIGHT_BITS = 12
"""Weights are in units of 2^-12."""
LARGEST_ACTIVATION = 1 << 15
PHASES = 16
"""Expected values are rounded down to sixteenths; the sixteenth chooses the table."""
INVERSE_BITS = 16
"""The inverse of the step is in units of 2^-16."""

TABLES_PER_OCTAVE = 4
SMALLEST_OCTAVE, LARGEST_OCTAVE = -6, 6
"""Logarithms to base 2 of the spreads of the first and the last table, symbols."""
SPREADS = (LARGEST_OCTAVE - SMALLEST_OCTAVE) * TABLES_PER_OCTAVE + 1

REACH = 32
"""Tables hold the symbols from ``floor(expected) - REACH + 1`` to ``floor(expected) + REACH``."""
ESCAPE = 2 * REACH
"""Index in a table that says: outside, the symbol itself follows in 12 bits."""
ESCAPE_BITS = 12


@dataclass(frozen=True)
class Network:
    """Weights for one step; H hidden units for each channel. All integers, float64.

    ``context`` (4 (H + 2), 48) and ``bias`` (4 (H + 2), 1): the first layer and, in the last two
    rows of each channel, a linear shortcut to its outputs; ``known`` (4, H + 2, 3): the same from
    the channels before; ``hidden`` (4, H, H) with ``hidden_bias`` (4, H, 1); ``output`` (4, 2, H).
    ``gain``: step in 1/256; ``inverse``: PHASES / step in 2^-24.
    """

    context: Exact
    bias: Exact
    known: Exact
    hidden: Exact
    hidden_bias: Exact
    output: Exact
    gain: float
    inverse: float


@cache
def load_weights(space: str) -> dict[str, NDArray[np.int64]]:
    """The arrays of a latent space's file; ``docs/format.md`` names them."""
    source = files(__package__) / "weights" / file_name(space)
    with source.open("rb") as stored, np.load(stored, allow_pickle=False) as arrays:
        return {name: arrays[name].astype(np.int64) for name in arrays.files}


def file_name(space: str) -> str:
    return f"prior-{space}.npz"


@cache
def load_tables(space: str) -> list[list[int]]:
    """``SPREADS * PHASES`` lists of 66 cumulative frequencies."""
    tables: list[list[int]] = load_weights(space)["cumulative"].tolist()
    return tables


@cache
def load_network(space: str, fineness: int) -> Network:
    data = {name: value.astype(np.float64) for name, value in load_weights(space).items()}
    return Network(
        context=data["context"],
        bias=data["bias"][:, None] + data["step"][:, None] * step_input(fineness),
        known=data["known"],
        hidden=data["hidden"],
        hidden_bias=data["hidden_bias"][:, :, None],
        output=data["output"],
        gain=float(data["gain"][fineness - 1]),
        inverse=float(data["inverse"][fineness - 1]),
    )


def step_input(fineness: int) -> int:
    """The logarithm of the step, as the network sees it: 32 finenesses are one ``UNIT``."""
    return (50 - fineness) * UNIT // 32


def neighbour_offsets(height: int, width: int) -> Integers:
    """int64 (48,): from a place in the first padded plane to the network's inputs."""
    stride = width + 2 * MARGIN
    plane = (height + 2 * MARGIN) * stride
    return np.array(
        [channel * plane + dy * stride + dx for channel in range(CHANNELS) for dy, dx in NEIGHBOURS]
    )


def diagonals(height: int, width: int) -> list[Integers]:
    """Flat indices into a padded plane, one array for each anti-diagonal ``x + 3 y`` with any."""
    stride = width + 2 * MARGIN
    result: list[Integers] = []
    for diagonal in range(width + 3 * height - 3):
        y = np.arange(max(0, (diagonal - width + 3) // 3), min(height - 1, diagonal // 3) + 1)
        if len(y):
            result.append((y + MARGIN) * stride + (diagonal - 3 * y + MARGIN))
    return result


def to_inputs(symbols: Integers | Exact, network: Network) -> Exact:
    """Symbols as clipped latents in 1/256."""
    return _clip(symbols * np.float64(network.gain), -LARGEST_LATENT, LARGEST_LATENT)


def first_layer(network: Network, latents: Exact, inputs: Integers) -> Exact:
    """What all channels of the places need of their neighbours: (4, H + 2, n).

    ``latents``: flat, padded; ``inputs`` (48, n): indices into them.
    """
    weights = network.context.reshape(CHANNELS, -1, len(inputs))
    neighbours = latents.take(inputs)
    layer = np.empty((CHANNELS, weights.shape[1], inputs.shape[1]))
    for start in range(0, inputs.shape[1], COLUMNS):
        end = start + COLUMNS
        np.matmul(weights, neighbours[:, start:end], out=layer[:, :, start:end])
    layer += network.bias.reshape(CHANNELS, -1, 1)
    return layer


def distributions(
    network: Network, channel: int, layer: Exact, known: Exact
) -> tuple[Exact, Exact]:
    """(symbol at index 0 of the table, table's index) for each place of one channel.

    ``layer`` (H + 2, n): the channel's part of ``first_layer()``, which is used up; ``known``
    (channel, n): latents of the channels before, at the same places.
    """
    if channel:
        layer += network.known[channel, :, :channel] @ known
    hidden = network.hidden[channel] @ _activate(layer[:-2])
    hidden += network.hidden_bias[channel]
    outputs = network.output[channel] @ _activate(hidden)
    outputs += layer[-2:]
    mean, spread = _shift(outputs, WEIGHT_BITS)
    expected = _shift(mean * network.inverse, INVERSE_BITS)
    whole = np.floor(expected / PHASES)
    spread = np.floor(spread / (UNIT // TABLES_PER_OCTAVE)) - SMALLEST_OCTAVE * TABLES_PER_OCTAVE
    spread = _clip(spread, 0, SPREADS - 1)
    return whole - (REACH - 1), spread * PHASES + (expected - whole * PHASES)


# These work in place: half of the time would go into memory for so few values, as it would with
# np.clip.


def _shift(values: Exact, bits: int) -> Exact:
    """``values >> bits``: multiplying by a power of two is exact."""
    values *= 2.0**-bits
    return np.floor(values, out=values)


def _activate(values: Exact) -> Exact:
    return _clip(_shift(values, WEIGHT_BITS), 0, LARGEST_ACTIVATION)


def _clip(values: Exact, low: float, high: float) -> Exact:
    np.maximum(values, low, out=values)
    return np.minimum(values, high, out=values)


def choose_tables(
    symbols: Integers, fineness: int, space: str
) -> tuple[Integers, Integers, Integers]:
    """Of symbols that are all known: (table, index in it, symbol), int64 (4, h w) each.

    In the order of ``diagonals()``; index ``ESCAPE`` where the table does not reach.
    """
    network = load_network(space, fineness)
    _, height, width = symbols.shape
    padded = np.pad(symbols, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN))).reshape(CHANNELS, -1)
    latents = to_inputs(padded, network)
    offsets = neighbour_offsets(height, width)[:, None]
    parts: list[tuple[Integers, Integers, Integers]] = []
    # A diagonal at a time, because the network's inputs are 48 for every place.
    for places in diagonals(height, width):
        layers = first_layer(network, latents, places + offsets)
        chosen = np.array(
            [
                distributions(network, channel, layers[channel], latents[:channel, places])
                for channel in range(CHANNELS)
            ]
        ).astype(np.int64)
        there = padded[:, places]
        index = there - chosen[:, 0]
        index[(index < 0) | (index >= ESCAPE)] = ESCAPE
        parts.append((chosen[:, 1], index, there))
    tables, indices, ordered = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
    return tables, indices, ordered


def encode_symbols(symbols: Integers, fineness: int, space: str) -> bytes:
    """int64 symbols (4, h, w), |symbol| <= 2047 -> entropy-coded bytes."""
    tables = load_tables(space)
    _, height, width = symbols.shape
    coded = [planes.tolist() for planes in choose_tables(symbols, fineness, space)]
    encoder = RangeEncoder()
    start = 0
    for places in diagonals(height, width):
        end = start + len(places)
        for table, index, symbol in zip(*coded, strict=True):
            for at in range(start, end):
                cumulative, chosen = tables[table[at]], index[at]
                low = cumulative[chosen]
                encoder.encode(low, cumulative[chosen + 1] - low)
                if chosen == ESCAPE:
                    encoder.encode_bits(symbol[at] + LARGEST_SYMBOL, ESCAPE_BITS)
        start = end
    return encoder.finish()


class Decoded(NamedTuple):
    """Symbols, and what the prior thought of each before it was known."""

    symbols: Integers
    """int64 (4, h, w)."""
    expected: NDArray[np.float32]
    """float32 (4, h, w): expected value, symbols."""
    spread: NDArray[np.float32]
    """float32 (4, h, w): spread of the logistic distribution, symbols."""


def decode_symbols(data: bytes, height: int, width: int, fineness: int, space: str) -> Decoded:
    """Inverse of ``encode_symbols``, for (4, height, width). Raises ``BlobError``."""
    network, tables = load_network(space, fineness), load_tables(space)
    shape = CHANNELS, height + 2 * MARGIN, width + 2 * MARGIN
    latents = np.zeros(shape).reshape(CHANNELS, -1)
    offsets = neighbour_offsets(height, width)[:, None]
    order = diagonals(height, width)
    parts: list[Exact] = []
    decoder = RangeDecoder(data)
    for places in order:
        layers = first_layer(network, latents, places + offsets)
        here = np.empty((CHANNELS, len(places)))
        part = np.empty((3, CHANNELS, len(places)))
        for channel in range(CHANNELS):
            first, table = distributions(network, channel, layers[channel], here[:channel])
            run = map(tables.__getitem__, table.astype(np.int64).tolist())
            index = np.array(decoder.decode_run(run, ESCAPE, ESCAPE_BITS))
            decoded = np.where(index < ESCAPE, index + first, index - (ESCAPE + LARGEST_SYMBOL))
            # 4095 after an escape, which no encoder writes, is read as the largest symbol.
            decoded = _clip(decoded, -LARGEST_SYMBOL, LARGEST_SYMBOL)
            here[channel] = to_inputs(decoded, network)
            part[:, channel] = decoded, first, table
        latents[:, places] = here
        parts.append(part)
    decoder.finish()
    planes = np.zeros((3, *latents.shape))
    planes[:, :, np.concatenate(order)] = np.concatenate(parts, axis=2)
    symbols, firsts, chosen = (
        plane.reshape(shape)[:, MARGIN:-MARGIN, MARGIN:-MARGIN] for plane in planes
    )
    expected = firsts + (REACH - 1) + (chosen % PHASES + 0.5) / PHASES
    octaves = SMALLEST_OCTAVE + (chosen // PHASES + 0.5) / TABLES_PER_OCTAVE
    return Decoded(
        symbols.astype(np.int64), expected.astype(np.float32), np.exp2(octaves).astype(np.float32)
    )
