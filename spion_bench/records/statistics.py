"""Means, medians and proportions with their 95 % intervals, all computed here or in ``paired``.

Terminal, records and pages use these functions, so they agree to the last digit. An interval that
the numbers do not give (of one sample, of equal runs, of NaN) is absent, never of width 0. Of
fewer than ``FEWEST_FOR_AN_INTERVAL`` samples the range is given, and called that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from spion_bench.records.metric import IntervalKind, Metric

FEWEST_FOR_AN_INTERVAL: Final = 6
"""Of fewer samples, a 95 % bootstrap interval of the median is their range and covers less."""

RESAMPLES: Final = 10_000
"""Bootstrap resamples of every interval of a median."""

RESAMPLING_SEED: Final = 0
"""Seed of the resampling, so a stored interval can be computed again from the stored samples."""

MEANINGFUL_CHANGE: Final = 1.05
"""A change counts only beyond 5 % and beyond the measured noise."""

_UPPER = 0.975  # the upper end of a two-sided 95 % interval
_PICKS_AT_ONCE = 1_000_000  # bounds the memory of a bootstrap over many samples

Verdict = Literal["faster", "slower", "same", "unclear"]
Interval = tuple[float, float | None, float | None]


@dataclass(frozen=True)
class Estimate:
    """A number, its 95 % interval if it has one, the count behind it, and its basis.

    Attributes:
        value: The number.
        low: Lower end of the interval, or None.
        high: Upper end.
        n: The samples, seeds or rounds behind it.
        basis: What it is and what the interval is, in a few words.
        kind: The kind of the interval; ``"range"`` is none, only the smallest and largest.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 1
    basis: str = ""
    kind: IntervalKind | None = None

    def shown(self) -> str:
        """Return the number with its interval, three digits after the point."""
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate times a positive number that is known exactly."""
        return self._mapped(lambda number: number * factor)

    def minus_one(self) -> Estimate:
        """Return by what share a ratio exceeds 1."""
        return self._mapped(lambda number: number - 1)

    def _mapped(self, change: Callable[[float], float]) -> Estimate:
        low, high = (None if end is None else change(end) for end in (self.low, self.high))
        return replace(self, value=change(self.value), low=low, high=high)

    def within(self, least: float, most: float = math.inf) -> Estimate:
        """Return the estimate with its interval cut to what can exist, e.g. times from 0."""
        low = None if self.low is None else max(least, self.low)
        high = None if self.high is None else min(most, self.high)
        return replace(self, low=low, high=high)


def median_with_interval(samples: Sequence[float], *, seed: int = RESAMPLING_SEED) -> Interval:
    """Return the median of ``samples`` and its percentile-bootstrap interval, or their range.

    Args:
        samples: At least one number.
        seed: Seed of the resampling.

    Returns:
        ``(median, low, high)``; the bounds are None for a single sample, and where a sample is NaN
        or infinite, and the range for a few, see ``interval_kind``.

    Raises:
        ValueError: If ``samples`` is empty.
    """
    values = _numbers("samples", samples)
    if not np.isfinite(values).all():
        is_nan = bool(np.isnan(values).any())
        return math.nan if is_nan else float(np.sort(values)[len(values) // 2]), None, None
    median = float(np.median(values))
    if values.size == 1:
        return median, None, None
    if interval_kind(values.size) == "range":
        return median, float(values.min()), float(values.max())
    return median, *bounds(bootstrap_medians(values, seed))


def interval_kind(n: int) -> IntervalKind | None:
    """Return what the bounds of a median of ``n`` samples are."""
    if n < 2:
        return None
    return "range" if n < FEWEST_FOR_AN_INTERVAL else "bootstrap"


def mean_with_interval(values: Sequence[float]) -> Interval:
    """Return the mean of independent runs and its Student t interval.

    Returns:
        ``(mean, low, high)``; the bounds are None for a single run and for runs that are all equal,
        which say nothing about the spread, and where a run is NaN or infinite.

    Raises:
        ValueError: If ``values`` is empty.
    """
    runs = _numbers("values", values)
    if not np.isfinite(runs).all():
        return float(np.nan if np.isnan(runs.sum()) else runs.sum()), None, None
    mean = math.fsum(runs) / runs.size
    if runs.size == 1 or np.all(runs == runs[0]):
        return mean, None, None
    deviation = math.sqrt(math.fsum((run - mean) ** 2 for run in runs) / (runs.size - 1))
    half = t_quantile(runs.size - 1) * deviation / math.sqrt(runs.size)
    return mean, mean - half, mean + half


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
    z = float(ndtri(_UPPER))
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    spread = share * (1 - share) / trials + z**2 / (4 * trials**2)
    half = z * math.sqrt(spread) / (1 + z**2 / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


def t_quantile(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t with ``degrees >= 1`` degrees of freedom."""
    return float(stdtrit(degrees, _UPPER))


def mean_over_seeds(values: Sequence[float], what: str = "seed") -> Estimate:
    """Return the mean of one value per seed with its t interval; ``what`` is what is counted.

    Raises:
        ValueError: If ``values`` is empty.
    """
    mean, low, high = mean_with_interval(values)
    n = len(values)
    if n == 1:
        return Estimate(mean, basis=f"one {what}, no interval")
    if not math.isfinite(mean):
        return Estimate(mean, n=n, basis=f"mean of {n} {what}s, no interval")
    if low is None:
        return Estimate(mean, n=n, basis=f"{n} {what}s, all equal")
    return Estimate(mean, low, high, n, f"mean of {n} {what}s, t interval", "t")


def median_of(metric: Metric) -> Estimate:
    """Return a metric's median and interval, which is computed if only samples are stored."""
    low, high, n = metric.low, metric.high, len(metric.samples)
    kind = metric.interval or interval_kind(n)
    is_unnamed_range = kind == "range" and metric.interval is None
    if n > 1 and (low is None or high is None or is_unnamed_range):
        _, low, high = median_with_interval(metric.samples)
    if n < 2:
        return Estimate(metric.value, low, high, 1, "single value", metric.interval)
    return Estimate(metric.value, low, high, n, f"median of {n} samples{described(kind)}", kind)


def described(kind: IntervalKind | None, level: float = 0.95) -> str:
    """Return how a basis ends that says what the interval is."""
    names = {None: ", no interval", "range": ", range", "t": ", t interval"}
    return names.get(kind) or f", {level * 100:g} % {kind} interval"


def speedup_verdict(speedup: Estimate) -> Verdict:
    """Return whether a speed-up is beyond 5 % and beyond its own interval."""
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
    """Return the geometric mean of positive numbers, the only mean of ratios in use.

    Raises:
        ValueError: If there are none, or one is not positive.
    """
    numbers = _numbers("values", values)
    if (numbers <= 0).any():
        raise ValueError(f"values: expected positive numbers, got {min(values)}")
    return math.exp(math.fsum(math.log(number) for number in numbers) / numbers.size)


def _numbers(name: str, values: Sequence[float]) -> NDArray[np.float64]:
    found = np.asarray(values, dtype=np.float64)
    if found.size == 0:
        raise ValueError(f"{name}: expected at least one number, got none")
    return found


def bootstrap_medians(
    values: NDArray[np.float64], seed: int, stream: int = 0
) -> NDArray[np.float64]:
    """Return the medians of all resamples; ``stream`` makes two sides of a ratio independent."""
    generator = np.random.default_rng((seed, stream))
    rows = max(1, _PICKS_AT_ONCE // values.size)
    medians = []
    for start in range(0, RESAMPLES, rows):
        size = (min(rows, RESAMPLES - start), values.size)
        # Sorting short rows takes a quarter of np.median's time; the medians are the same.
        ordered = np.sort(values[generator.integers(0, values.size, size=size)], axis=1)
        lower, upper = ordered[:, (values.size - 1) // 2], ordered[:, values.size // 2]
        medians.append((lower + upper) / 2)
    return np.concatenate(medians)


def bounds(values: NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """Return the ends of the central ``level`` of the values."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
