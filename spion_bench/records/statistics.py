"""Medians, intervals and proportions; numpy only.

All intervals are 95 % intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

NORMAL_QUANTILE = 1.959963984540054  # 97.5 % quantile of the standard normal distribution

# 97.5 % quantiles of Student's t for 1 to 10 degrees of freedom; with more, the expansion in
# `t_quantile` is exact to three digits.
T_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def median_with_interval(
    samples: Sequence[float], *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Return the median of ``samples`` and its percentile-bootstrap interval.

    Args:
        samples: At least one finite number.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resampling, so that a record's interval can be recomputed.

    Returns:
        ``(median, low, high)``; with a single sample all three are that sample.

    Raises:
        ValueError: If ``samples`` is empty.
    """
    values = np.asarray(samples, dtype=np.float64)
    if values.size == 0:
        raise ValueError("samples: expected at least one number, got none")
    generator = np.random.default_rng(seed)
    picks = generator.integers(0, values.size, size=(resamples, values.size))
    low, high = np.quantile(np.median(values[picks], axis=1), [0.025, 0.975])
    return float(np.median(values)), float(low), float(high)


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion.

    Raises:
        ValueError: If ``trials`` is not positive or ``successes`` is not in ``0..trials``.
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(
            "successes, trials: expected 0 <= successes <= trials and trials > 0, "
            f"got {successes} and {trials}"
        )
    z2 = NORMAL_QUANTILE**2
    share = successes / trials
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    spread = share * (1 - share) / trials + z2 / (4 * trials**2)
    half = NORMAL_QUANTILE * math.sqrt(spread) / (1 + z2 / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_with_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Return the mean of independent runs and its Student t interval.

    Returns:
        ``(mean, low, high)``; the bounds are None for a single run, which says nothing about
        the spread.

    Raises:
        ValueError: If ``values`` is empty.
    """
    runs = np.asarray(values, dtype=np.float64)
    if runs.size == 0:
        raise ValueError("values: expected at least one number, got none")
    mean = float(runs.mean())
    if runs.size == 1:
        return mean, None, None
    half = t_quantile(runs.size - 1) * float(runs.std(ddof=1)) / math.sqrt(runs.size)
    return mean, mean - half, mean + half


def t_quantile(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t with ``degrees >= 1`` degrees of freedom."""
    if degrees <= len(T_QUANTILES):
        return T_QUANTILES[degrees - 1]
    z = NORMAL_QUANTILE
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / degrees + second / degrees**2
