import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("scipy")

from benchmarks.bjontegaard import at_rate, delta_rate, rate_at

RATES = (0.05, 0.08, 0.12, 0.18, 0.25)


def curve(scale: float = 1.0, sign: float = 1.0) -> list[tuple[float, float]]:
    """A measure that grows with the logarithm of the rate."""
    return [(rate * scale, sign * (30 + 4 * np.log2(rate))) for rate in RATES]


@given(st.floats(0.5, 2.0), st.sampled_from([1.0, -1.0]))
def test_delta_rate__is_the_factor_between_two_curves(scale, sign):
    change = delta_rate(curve(sign=sign), curve(scale, sign), low=0.001, high=10)
    assert change == pytest.approx(scale - 1, abs=1e-9)


def test_delta_rate__counts_only_what_lies_between_the_rates():
    bent = [(rate * (1 if rate < 0.15 else 9), measure) for rate, measure in curve()]
    assert delta_rate(curve(), bent, low=0.05, high=0.12) == pytest.approx(0, abs=1e-9)


def test_delta_rate__does_not_extrapolate():
    above = [(rate, measure + 100) for rate, measure in curve()]
    assert delta_rate(curve(), above, low=0.05, high=0.25) is None
    assert delta_rate(curve(), curve(100), low=0.05, high=0.25) is None


def test_at_rate__is_on_the_curve_or_nothing():
    assert at_rate(curve(), 0.12) == pytest.approx(30 + 4 * np.log2(0.12))
    assert at_rate(curve(), 0.04) is None
    assert at_rate(curve(), 0.26) is None


@given(st.floats(0.05, 0.25), st.sampled_from([1.0, -1.0]))
def test_rate_at__is_where_the_curve_has_the_measure(rate, sign):
    points = curve(sign=sign)
    measure = sign * (30 + 4 * np.log2(rate))
    known = rate_at(points, float(np.clip(measure, *sorted((points[0][1], points[-1][1])))))
    assert known == pytest.approx(rate)


def test_rate_at__does_not_extrapolate_and_leaves_out_what_goes_back():
    assert rate_at(curve(), 10) is None
    assert rate_at([*curve(), (0.13, -5.0)], curve()[3][1]) == pytest.approx(RATES[3])
