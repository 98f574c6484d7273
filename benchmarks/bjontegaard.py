"""Bjøntegaard's delta rate: how many more bytes a codec takes for the same measure.

Bjøntegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001, with
piecewise cubic Hermite interpolation (PCHIP) in place of the polynomial, as is usual now.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Curve = list[tuple[float, float]]
"""(bits per pixel, measure) of every point."""


def _measure_over_rate(curve: Curve, low: float, high: float) -> tuple[NDArray[np.float64], ...]:
    """(logarithms of the rate, measures) along the curve between two rates, and at both."""
    rates, measures = (np.array(column) for column in zip(*sorted(curve), strict=True))
    logs = np.log(rates)
    start, end = max(np.log(low), logs[0]), min(np.log(high), logs[-1])
    if not start < end:
        return np.empty(0), np.empty(0)
    inside = np.concatenate([[start], logs[(logs > start) & (logs < end)], [end]])
    return inside, PchipInterpolator(logs, measures)(inside)


def _monotone(
    measures: NDArray[np.float64], logs: NDArray[np.float64]
) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    """Sign with which the measures rise, they with it, their rates; points that fall left out."""
    sign = 1 if measures[-1] > measures[0] else -1
    ordered = sign * measures
    keep = ordered > np.concatenate([[-np.inf], np.maximum.accumulate(ordered)[:-1]])
    return sign, ordered[keep], logs[keep]


def delta_rate(anchor: Curve, other: Curve, *, low: float, high: float) -> float | None:
    """Relative bytes of ``other`` at equal measure, mean over what both curves reach: -0.6 is 60 %
    less. Only points between ``low`` and ``high`` bits per pixel count, on both curves.

    None where the two have no measure in common: nothing is extrapolated. Both curves must be
    monotone in the measure; a point that is not is left out.
    """
    parts = []
    for curve in (anchor, other):
        logs, measures = _measure_over_rate(curve, low, high)
        if len(logs) < 2:
            return None
        sign, ordered, kept = _monotone(measures, logs)
        if len(ordered) < 2:
            return None
        parts.append((ordered, kept, sign))
    (first, first_logs, first_sign), (second, second_logs, second_sign) = parts
    start, end = max(first[0], second[0]), min(first[-1], second[-1])
    if first_sign != second_sign or not start < end:
        return None
    areas = [
        PchipInterpolator(measures, logs).integrate(start, end)
        for measures, logs in ((first, first_logs), (second, second_logs))
    ]
    return float(np.expm1((areas[1] - areas[0]) / (end - start)))


def rate_at(curve: Curve, measure: float) -> float | None:
    """Bits per pixel at which the curve has this measure; None where it has not.

    A point that is not monotone in the measure is left out, as above.
    """
    rates, measures = (np.array(column) for column in zip(*sorted(curve), strict=True))
    sign, ordered, logs = _monotone(measures, np.log(rates))
    if len(ordered) < 2 or not ordered[0] <= sign * measure <= ordered[-1]:
        return None
    return float(np.exp(PchipInterpolator(ordered, logs)(sign * measure)))


def at_rate(curve: Curve, rate: float) -> float | None:
    """The measure at so many bits per pixel; None outside the curve."""
    rates, measures = (np.array(column) for column in zip(*sorted(curve), strict=True))
    if len(rates) < 2 or not rates[0] <= rate <= rates[-1]:
        return None
    return float(PchipInterpolator(np.log(rates), measures)(np.log(rate)))
