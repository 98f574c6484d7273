import hashlib
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from skimage import data

from django_latentimg import codec
from django_latentimg.codec import container, prior
from django_latentimg.codec.errors import BlobError
from django_latentimg.codec.models import BUNDLED, SD1
from django_latentimg.codec.quantize import LARGEST_SYMBOL
from django_latentimg.codec.rangecoder import TOTAL

SPACES = tuple(container.SPACES.values())
each_space = pytest.mark.parametrize("space", SPACES)

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@st.composite
def any_symbols(draw: st.DrawFn) -> np.ndarray:
    bound = draw(st.sampled_from([1, 5, 40, LARGEST_SYMBOL]))
    return draw(hnp.arrays(np.int64, (4, *draw(sizes)), elements=st.integers(-bound, bound)))


def smooth_symbols(height: int, width: int, spread: float = 3.0) -> np.ndarray:
    random = np.random.default_rng(5)
    y, x = np.mgrid[0:height, 0:width]
    smooth = np.stack([np.sin(x / 5 + c) + np.cos(y / 4 - c) for c in range(4)])
    return np.rint(spread * (smooth + random.normal(0, 0.4, smooth.shape))).astype(np.int64)


@given(any_symbols(), st.integers(1, 100), st.sampled_from(SPACES))
def test_symbols__survive_the_round_trip(symbols, fineness, space):
    coded = prior.encode_symbols(symbols, fineness, space)
    decoded = prior.decode_symbols(coded, *symbols.shape[1:], fineness, space)
    assert np.array_equal(decoded.symbols, symbols)


@given(st.binary(max_size=200), sizes, st.integers(1, 100), st.sampled_from(SPACES))
def test_decode_symbols__of_any_bytes_is_bounded_or_an_error(coded, size, fineness, space):
    try:
        decoded = prior.decode_symbols(coded, *size, fineness, space)
    except BlobError:
        return
    for planes in decoded:
        assert planes.shape == (4, *size)
        assert np.isfinite(planes).all()
    assert np.abs(decoded.symbols).max() <= LARGEST_SYMBOL
    assert (decoded.spread > 0).all()


@pytest.mark.parametrize("model", BUNDLED)
def test_decode_symbols__tells_what_was_expected(model):
    """Of a photograph: expected values are near the symbols, as near as the spread says."""
    blob = codec.encode(Image.fromarray(data.chelsea()), quality=75, model=model)
    symbols, space = codec.Latent.from_bytes(blob).symbols(), BUNDLED[model]
    coded = prior.encode_symbols(symbols, 75, space)
    decoded = prior.decode_symbols(coded, *symbols.shape[1:], 75, space)
    error = np.abs(decoded.expected - symbols)
    assert error.mean() < np.abs(symbols).mean() * 0.85
    # The mean distance of a logistic variable from its middle is 2 ln 2 spreads.
    assert 0.6 < error.mean() / (1.386 * decoded.spread.mean()) < 1.6


@given(st.integers(1, 40), st.integers(1, 40))
def test_diagonals__visit_every_place_once_after_its_neighbours(height, width):
    stride = width + 2 * prior.MARGIN
    seen: set[int] = set()
    inside = {
        (y + prior.MARGIN) * stride + x + prior.MARGIN for y in range(height) for x in range(width)
    }
    before = [dy * stride + dx for dy, dx in prior.NEIGHBOURS]
    for places in prior.diagonals(height, width):
        for place in places.tolist():
            assert all(place + o in seen for o in before if place + o in inside)
        seen.update(places.tolist())
    assert seen == inside


@each_space
def test_tables__are_distributions(space):
    tables = prior.load_tables(space)
    assert len(tables) == prior.SPREADS * prior.PHASES
    for cumulative in tables:
        assert (cumulative[0], cumulative[-1], len(cumulative)) == (0, TOTAL, prior.ESCAPE + 2)
        assert all(a < b for a, b in itertools.pairwise(cumulative))


@each_space
@pytest.mark.parametrize("fineness", [1, 25, 50, 75, 100])
def test_network__is_of_integers_and_no_intermediate_can_reach_two_to_the_53(space, fineness):
    """Bounds of every sum of absolute terms, whatever the symbols are."""
    network = prior.load_network(space, fineness)
    for name in ("context", "bias", "known", "hidden", "hidden_bias", "output"):
        assert np.array_equal(getattr(network, name), np.rint(getattr(network, name))), name
    assert network.gain == int(network.gain) > 0
    assert network.inverse == int(network.inverse) > 0
    symbols = LARGEST_SYMBOL * network.gain
    first = prior.LARGEST_LATENT * np.abs(network.context).sum(1) + np.abs(network.bias[:, 0])
    first = first.reshape(prior.CHANNELS, -1)
    first += prior.LARGEST_LATENT * np.abs(network.known).sum(2)
    hidden = prior.LARGEST_ACTIVATION * np.abs(network.hidden).sum(2)
    hidden += np.abs(network.hidden_bias[:, :, 0])
    outputs = prior.LARGEST_ACTIVATION * np.abs(network.output).sum(2) + first[:, -2:]
    expected = (outputs / 2**prior.WEIGHT_BITS + 1) * network.inverse
    assert max(symbols, first.max(), hidden.max(), outputs.max(), expected.max()) < 2**53


def table_indices(symbols: np.ndarray, fineness: int) -> np.ndarray:
    """(first symbol, table) of every symbol: int64 (2, 4, n), in the order of the diagonals."""
    network = prior.load_network(SD1, fineness)
    _, height, width = symbols.shape
    padded = np.pad(symbols, ((0, 0), (2, 2), (2, 2))).reshape(prior.CHANNELS, -1)
    latents = prior.to_inputs(padded, network)
    places = np.concatenate(prior.diagonals(height, width))
    offsets = prior.neighbour_offsets(height, width)[:, None]
    layers = prior.first_layer(network, latents, places + offsets)
    chosen = [
        prior.distributions(network, c, layers[c], latents[:c, places])
        for c in range(prior.CHANNELS)
    ]
    return np.array(chosen).astype(np.int64).transpose(1, 0, 2)


def reference_indices(symbols: np.ndarray, fineness: int) -> np.ndarray:
    """The same in Python's integers, one symbol after the other, after docs/format.md."""
    network = prior.load_network(SD1, fineness)
    gain, inverse = int(network.gain), int(network.inverse)
    weights = {
        name: getattr(network, name).astype(int).tolist()
        for name in ("context", "bias", "known", "hidden", "hidden_bias", "output")
    }
    _, height, width = symbols.shape
    stride = width + 4
    largest = 16 * 256

    def latent(c: int, y: int, x: int) -> int:
        if not (0 <= y < height and 0 <= x < width):
            return 0
        return max(-largest, min(largest, int(symbols[c, y, x]) * gain))

    def activate(total: int) -> int:
        return max(0, min(1 << 15, total >> 12))

    result: list[list[tuple[int, int]]] = [[] for _ in range(4)]
    rows = len(weights["bias"]) // 4
    for place in np.concatenate(prior.diagonals(height, width)).tolist():
        y, x = place // stride - 2, place % stride - 2
        inputs = [latent(c, y + dy, x + dx) for c in range(4) for dy, dx in prior.NEIGHBOURS]
        for c in range(4):
            known = [latent(k, y, x) for k in range(c)]
            layer = [
                sum(w * v for w, v in zip(weights["context"][c * rows + row], inputs, strict=True))
                + weights["bias"][c * rows + row][0]
                + sum(w * v for w, v in zip(weights["known"][c][row], known, strict=False))
                for row in range(rows)
            ]
            hidden = [activate(total) for total in layer[:-2]]
            hidden = [
                activate(sum(w * v for w, v in zip(row, hidden, strict=True)) + bias[0])
                for row, bias in zip(weights["hidden"][c], weights["hidden_bias"][c], strict=True)
            ]
            mean, spread = (
                (sum(w * v for w, v in zip(row, hidden, strict=True)) + shortcut) >> 12
                for row, shortcut in zip(weights["output"][c], layer[-2:], strict=True)
            )
            expected = mean * inverse >> 16
            scale = max(0, min(48, (spread >> 6) + 24))
            result[c].append((expected // 16 - 31, scale * 16 + expected % 16))
    return np.array(result).transpose(2, 0, 1)


@pytest.mark.parametrize("fineness", [1, 50, 100])
@pytest.mark.parametrize("spread", [1.0, 30.0, 2000.0])
def test_distributions__are_those_of_the_written_format(fineness, spread):
    symbols = np.clip(smooth_symbols(7, 9, spread), -LARGEST_SYMBOL, LARGEST_SYMBOL)
    assert np.array_equal(table_indices(symbols, fineness), reference_indices(symbols, fineness))


def torch_indices(symbols: np.ndarray, fineness: int) -> np.ndarray:
    import torch
    import torch.nn.functional as F

    network = prior.load_network(SD1, fineness)
    weight = {
        name: torch.from_numpy(getattr(network, name))
        for name in ("context", "bias", "known", "hidden", "hidden_bias", "output")
    }
    latents = (torch.from_numpy(symbols).double() * network.gain).clamp(-4096, 4096)
    _, height, width = latents.shape
    padded = F.pad(latents, (2, 2, 2, 2))
    views = [
        padded[c, 2 + dy : 2 + dy + height, 2 + dx : 2 + dx + width].flatten()
        for c in range(4)
        for dy, dx in prior.NEIGHBOURS
    ]
    layers = (weight["context"] @ torch.stack(views) + weight["bias"]).view(4, -1, height * width)
    result = []
    for c in range(4):
        layer = layers[c] + weight["known"][c][:, :c] @ latents[:c].flatten(1)
        hidden = (layer[:-2] / 4096).floor().clamp(0, 1 << 15)
        hidden = weight["hidden"][c] @ hidden + weight["hidden_bias"][c]
        hidden = (hidden / 4096).floor().clamp(0, 1 << 15)
        mean, spread = ((weight["output"][c] @ hidden + layer[-2:]) / 4096).floor()
        expected = (mean * network.inverse / 65536).floor()
        scale = ((spread / 64).floor() + 24).clamp(0, 48)
        first = (expected / 16).floor() - 31
        result.append(torch.stack([first, scale * 16 + expected.remainder(16)]))
    raster = torch.stack(result, 1).long().numpy().reshape(2, 4, height, width)
    stride = width + 4
    places = np.concatenate(prior.diagonals(height, width))
    return raster[:, :, places // stride - 2, places % stride - 2]


def digest(indices: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(indices).tobytes()).hexdigest()


def test_distributions__are_the_same_with_any_number_of_threads_and_in_torch():
    symbols = smooth_symbols(150, 200)
    expected = digest(table_indices(symbols, 50))
    assert digest(torch_indices(symbols, 50)) == expected
    script = (
        "from tests.codec.test_prior import digest, smooth_symbols, table_indices;"
        "print(digest(table_indices(smooth_symbols(150, 200), 50)))"
    )
    for threads in ("1", "2", "8"):
        finished = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        )
        assert finished.stdout.strip() == expected


def test_encode_symbols__costs_what_the_tables_say():
    """Range-coder overhead is below 0.2 %."""
    symbols = smooth_symbols(64, 64)
    first, tables = table_indices(symbols, 50)
    padded = np.pad(symbols, ((0, 0), (2, 2), (2, 2))).reshape(4, -1)
    index = padded[:, np.concatenate(prior.diagonals(64, 64))] - first
    frequencies = np.diff(np.array(prior.load_tables(SD1)), axis=1)
    assert ((index >= 0) & (index < prior.ESCAPE)).all()
    ideal = -np.log2(frequencies[tables, index] / TOTAL).sum() / 8
    assert ideal < len(prior.encode_symbols(symbols, 50, SD1)) < ideal * 1.002
