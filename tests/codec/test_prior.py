import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from django_latentimg.codec import prior
from django_latentimg.codec.errors import BlobError
from django_latentimg.codec.quantize import LARGEST_SYMBOL
from django_latentimg.codec.rangecoder import TOTAL

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@st.composite
def any_symbols(draw: st.DrawFn) -> np.ndarray:
    bound = draw(st.sampled_from([1, 5, 40, LARGEST_SYMBOL]))
    return draw(hnp.arrays(np.int64, (4, *draw(sizes)), elements=st.integers(-bound, bound)))


@given(any_symbols(), st.integers(1, 100))
def test_symbols__survive_the_round_trip(symbols, quality):
    data = prior.encode_symbols(symbols, quality)
    _, height, width = symbols.shape
    assert np.array_equal(prior.decode_symbols(data, height, width, quality), symbols)


@given(st.binary(max_size=200), sizes, st.integers(1, 100))
def test_decode_symbols__of_any_bytes_is_bounded_or_an_error(data, size, quality):
    try:
        symbols = prior.decode_symbols(data, *size, quality)
    except BlobError:
        return
    assert symbols.shape == (4, *size)
    assert np.abs(symbols).max() <= LARGEST_SYMBOL


@given(st.integers(1, 40), st.integers(1, 40))
def test_diagonals__visit_every_place_once_after_its_neighbours(height, width):
    stride = width + 2 * prior.MARGIN
    seen: set[int] = set()
    inside = {
        (y + prior.MARGIN) * stride + x + prior.MARGIN for y in range(height) for x in range(width)
    }
    for places in prior.diagonals(height, width):
        for place in places.tolist():
            before = (-1, -2, -stride, -stride - 1, -stride + 1, -2 * stride)
            assert all(place + o in seen for o in before if place + o in inside)
        seen.update(places.tolist())
    assert seen == inside


def test_neighbours__do_not_look_ahead():
    """Symbols that are not coded yet may be anything."""
    random = np.random.default_rng(0)
    padded = np.zeros((4, 12, 14), np.int64)
    padded[:, 2:-2, 2:-2] = random.integers(-9, 9, (4, 8, 10))
    order = prior.diagonals(8, 10)
    for number, places in enumerate(order):
        for channel in range(4):
            changed = padded.copy().reshape(4, -1)
            later = np.concatenate(order[number + 1 :] or [np.empty(0, np.int64)])
            changed[:, later] = 99
            changed[channel:, places] = 99
            for one, other in zip(
                prior.neighbours(padded, channel, places),
                prior.neighbours(changed.reshape(padded.shape), channel, places),
                strict=True,
            ):
                assert np.array_equal(one, other)


@pytest.mark.parametrize("quality", [1, 25, 50, 75, 100])
def test_tables__are_distributions(quality):
    tables, weights = prior.load_tables(), prior.load_weights(quality)
    assert len(tables.cumulative) == (len(tables.thresholds) + 1) << prior.PHASE_BITS
    for cumulative in tables.cumulative:
        assert (cumulative[0], cumulative[-1], len(cumulative)) == (0, TOTAL, prior.ESCAPE + 2)
        assert all(a < b for a, b in itertools.pairwise(cumulative))
    assert (np.diff(tables.thresholds) > 0).all()
    assert (weights.spread >= 0).all()


def test_weights__keep_every_sum_exact_in_float64():
    """Worst case: all symbols at their limit, all terms of one sign."""
    for quality in (1, 13, 25, 38, 50, 63, 75, 88, 100):
        weights = prior.load_weights(quality)
        mean = (np.abs(weights.mean).sum(1) * LARGEST_SYMBOL).max()
        spread = (weights.floor + weights.spread.sum(1) * 4 * LARGEST_SYMBOL).max()
        assert max(mean, spread) < 2**53
