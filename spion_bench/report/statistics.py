"""Means, medians, ratios and their 95 % intervals, with the basis of each interval in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spion_bench.records import Metric

RESAMPLES = 10_000
RESAMPLING_SEED = 0
MEANINGFUL_CHANGE = 1.05
"""A change counts only beyond 5 % and beyond the measured noise."""

# Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom.
_T_QUANTILES = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
_NORMAL_QUANTILE = 1.960

Verdict = Literal["faster", "slower", "same", "unclear"]


@dataclass(frozen=True)
class Estimate:
    """A number, its 95 % interval if it has one, the count behind it, and the basis in words."""

    value: float
    low: float | None
    high: float | None
    n: int
    basis: str


def mean_over_seeds(values: Sequence[float], what: str = "seed") -> Estimate:
    """Return the mean of one value per seed with Student's t interval (none for a single seed)."""
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(mean, None, None, 1, f"one {what}, no interval")
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    quantile = _T_QUANTILES[n - 2] if n - 2 < len(_T_QUANTILES) else _NORMAL_QUANTILE
    half = quantile * deviation / math.sqrt(n)
    if half == 0:
        return Estimate(mean, None, None, n, f"{n} {what}s, all equal")
    return Estimate(mean, mean - half, mean + half, n, f"mean of {n} {what}s, t interval")


def median_of(metric: Metric) -> Estimate:
    """Return a metric's median and interval, which is bootstrapped if only samples are stored."""
    low, high, n = metric.low, metric.high, len(metric.samples)
    if (low is None or high is None) and n > 1:
        low, high = _bounds(_bootstrap_medians(metric.samples))
    basis = f"median of {n} samples" if n else "single value"
    return Estimate(metric.value, low, high, max(n, 1), basis)


def ratio_of_medians(numerator: Metric, denominator: Metric) -> Estimate:
    """Return the ratio of two medians; both must come from one run on one machine.

    The interval is a percentile bootstrap: both sample lists are resampled independently 10 000
    times with a fixed seed. Without samples on both sides there is no interval.
    """
    value = numerator.value / denominator.value
    if len(numerator.samples) < 2 or len(denominator.samples) < 2:
        return Estimate(value, None, None, 1, "ratio of single values, no interval")
    ratios = _bootstrap_medians(numerator.samples) / _bootstrap_medians(denominator.samples, 1)
    low, high = _bounds(ratios)
    n = min(len(numerator.samples), len(denominator.samples))
    return Estimate(value, low, high, n, f"ratio of medians, bootstrap over {n} samples each")


def speedup_verdict(speedup: Estimate) -> Verdict:
    """Say whether a speed-up is beyond 5 % and beyond its own interval."""
    if speedup.low is None or speedup.high is None:
        return "unclear"
    if speedup.low > MEANINGFUL_CHANGE:
        return "faster"
    if speedup.high < 1 / MEANINGFUL_CHANGE:
        return "slower"
    if speedup.low >= 1 / MEANINGFUL_CHANGE and speedup.high <= MEANINGFUL_CHANGE:
        return "same"
    return "unclear"


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of positive numbers, the only mean of ratios a report uses."""
    return math.exp(math.fsum(math.log(value) for value in values) / len(values))


def _bootstrap_medians(samples: Sequence[float], stream: int = 0) -> np.ndarray:
    generator = np.random.default_rng((RESAMPLING_SEED, stream))
    values = np.asarray(samples, dtype=np.float64)
    picks = generator.integers(0, len(values), size=(RESAMPLES, len(values)))
    return np.asarray(np.median(values[picks], axis=1))


def _bounds(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
