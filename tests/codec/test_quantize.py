import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from django_latentimg.codec.quantize import LARGEST_SYMBOL, centroid, dequantise, quantise, step_of


def test_step_of__halves_every_25():
    assert [step_of(fineness) for fineness in (25, 50, 75, 100)] == [1.0, 0.5, 0.25, 0.125]


@given(
    hnp.arrays(np.float32, (4, 3, 2), elements=st.floats(-100, 100, width=32)), st.integers(1, 100)
)
def test_quantise__is_off_by_half_a_step_at_most(latents, fineness):
    step = step_of(fineness)
    error = np.abs(dequantise(quantise(latents, step), step) - latents)
    assert error.max() <= step / 2 + 1e-4


def test_quantise__clips_what_no_encoder_should_give():
    latents = np.array([[[np.inf, -np.inf, np.nan, 1e9]]], np.float32)
    assert quantise(latents, 0.5).tolist() == [
        [[LARGEST_SYMBOL, -LARGEST_SYMBOL, 0, LARGEST_SYMBOL]]
    ]


@given(st.floats(-6, 6), st.floats(0.02, 60))
def test_centroid__lies_in_the_cell_on_the_side_of_what_was_expected(offset, spread):
    shift = centroid(np.array([offset]), np.array([spread]), np.exp)[0]
    assert abs(shift) <= 0.4 + 1e-9
    assert shift * offset >= -1e-9


@pytest.mark.parametrize("spread", [0.1, 0.3, 1.0])
def test_centroid__is_nearer_than_the_middle_on_average(spread):
    """Of latents that are distributed as the prior believes."""
    latents = np.random.default_rng(0).logistic(0.3, spread, 20_000)
    symbols = np.rint(latents)
    shift = centroid(0.3 - symbols, np.full_like(symbols, spread), np.exp)
    plain, shifted = (np.square(latents - symbols - s).mean() for s in (0, shift))
    assert shifted < plain * 0.99
