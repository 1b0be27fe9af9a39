"""Comparisons of subjects that took turns in rounds: paired ratios, A/A, and when it is enough.

All subjects run once per round, in fresh order. What a round does to one subject it does to all, so
ratios are taken round by round: the ratio is the median of the rounds' log ratios, its interval a
bootstrap over rounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import numpy as np
from scipy.stats import wilcoxon

from spion_bench.records.metric import GpuRound, Load, Metric
from spion_bench.records.statistics import (
    RESAMPLING_SEED,
    Estimate,
    bootstrap_medians,
    bounds,
    described,
    interval_kind,
)

LEAST_ROUNDS: Final = 8
"""Numbers of fewer rounds are marked."""

AA_LIMIT: Final = 0.05
"""A run whose A/A ratio is off by more than this is marked."""

DISTURBING_SHARE: Final = 0.05
"""A round is disturbed if other processes used more than this share of the CPUs: a tenth of a core
of two."""


CLOCK_LIMIT: Final = 0.05
"""A GPU is slowed down in a round if its clock is this share below a subject's highest."""


@dataclass(frozen=True)
class StoppingRule:
    """When a measurement in rounds is enough: the one place that decides it.

    Attributes:
        least_rounds: Fewest rounds.
        most_rounds: The bound: no more rounds, however wide the intervals are.
        half_width: Go on until the interval of each paired ratio is within this share of it.
        level: Level of that interval.
        limit_s: How long each subject may be busy in its rounds after the first, in seconds.
    """

    least_rounds: int = LEAST_ROUNDS
    most_rounds: int = 24
    half_width: float = 0.03
    level: float = 0.95
    limit_s: float = math.inf

    @property
    def most_repeats(self) -> int:
        """How many rounds, disturbed or slowed down, are taken again at most: a quarter of all."""
        return max(4, self.most_rounds // 4)

    def has_time(self, spent: Mapping[str, Sequence[float]]) -> bool:
        """Return whether another round fits, if it takes no subject longer than its longest.

        The first one does not count where there are more: code is compiled in it.

        Args:
            spent: Seconds that each subject was busy in each round, repeated ones included.
        """
        return all(
            sum(taken[1:]) + max(taken[1:] or taken) <= self.limit_s for taken in spent.values()
        )

    def is_enough(self, rounds: Mapping[str, Sequence[float]], baseline: str) -> bool:
        """Return whether another round is unnecessary.

        Args:
            rounds: One number per round for each subject, in the same order of rounds.
            baseline: The subject that the others are compared with.
        """
        n = len(rounds[baseline])
        if n >= self.most_rounds or n < self.least_rounds:
            return n >= self.most_rounds
        others = [values for name, values in rounds.items() if name != baseline]
        return all(
            half_width(paired_ratio(values, rounds[baseline], level=self.level)) < self.half_width
            for values in others
        )


def paired_ratio(
    numerator: Sequence[float], denominator: Sequence[float], *, level: float = 0.95
) -> Estimate:
    """Return the ratio of two subjects that took turns.

    Args:
        numerator: One number per round.
        denominator: The other subject's, in the same order of rounds.
        level: Level of the interval. Of fewer than 6 rounds, the range is returned instead.

    Raises:
        ValueError: If there are no rounds, or not as many for both.
    """
    above, below = (np.asarray(x, dtype=np.float64) for x in (numerator, denominator))
    n = above.size
    if n == 0 or n != below.size:
        raise ValueError(
            "numerator, denominator: expected one number of each per round, got "
            f"{n} and {below.size}"
        )
    both = np.concatenate([above, below])
    if not np.isfinite(both).all() or (both <= 0).any():
        value = _quotient(float(np.median(above)), float(np.median(below)))
        return Estimate(value, n=n, basis="no interval: a number is NaN, infinite or not positive")
    logs = np.log(above / below)
    kind = interval_kind(n)
    low: float | None = None
    high: float | None = None
    if kind == "range":
        low, high = math.exp(logs.min()), math.exp(logs.max())
    elif kind is not None:
        ends = bounds(bootstrap_medians(logs, RESAMPLING_SEED), level)
        low, high = (math.exp(end) for end in ends)
    basis = f"paired over {n} round{'s' if n > 1 else ''}{described(kind, level)}"
    return Estimate(math.exp(float(np.median(logs))), low, high, n, basis, kind)


def half_width(ratio: Estimate) -> float:
    """Return half the width of a ratio's interval as a share of the ratio; infinite without one."""
    if ratio.low is None or ratio.high is None or ratio.low <= 0:
        return math.inf
    return math.sqrt(ratio.high / ratio.low) - 1


def aa_metric(second: Sequence[float], first: Sequence[float]) -> Metric:
    """Return the A/A ratio of a baseline that ran twice per round: 1 but for noise.

    Args:
        second: One number per round of its second worker.
        first: The same of its first.
    """
    ratio = paired_ratio(second, first)
    return Metric(
        value=ratio.value,
        unit="ratio",
        lower_is_better=False,
        samples=[above / below for above, below in zip(second, first, strict=True)],
        round_sizes=[1] * len(second),
        low=ratio.low,
        high=ratio.high,
        interval=ratio.kind,
    )


def is_disturbed(others: float | None, cpus: int) -> bool:
    """Return whether other processes used too much of the CPUs; unknown is not known to be."""
    return others is not None and others > DISTURBING_SHARE * cpus


def slowed_rounds(rounds: Sequence[GpuRound]) -> list[bool]:
    """Return for each round of a subject whether its GPU was throttled, or slower than it can be.

    Subjects differ in the power that they take, so a clock is compared with the subject's own.
    """
    clocks = [each.sm_clock_mhz for each in rounds if each.sm_clock_mhz is not None]
    least = (1 - CLOCK_LIMIT) * max(clocks, default=0.0)
    return [
        bool(each.throttle_reasons) or (each.sm_clock_mhz is not None and each.sm_clock_mhz < least)
        for each in rounds
    ]


def gpu_marks(rounds: Mapping[str, Sequence[GpuRound]]) -> list[str]:
    """Return what a GPU's state says against the numbers of a turn.

    Args:
        rounds: The GPU in each round, by subject; empty for a turn on the CPU.
    """
    every = [each for taken in rounds.values() for each in taken]
    total, found = len(every), []
    unread = sum(each.sm_clock_mhz is None or each.throttle_reasons is None for each in every)
    if unread:
        found.append(f"the GPU's clocks could not be read in {unread} of {total} measurements")
    slowed = sum(sum(slowed_rounds(taken)) for taken in rounds.values())
    if slowed:
        reasons = sorted({name for each in every for name in each.throttle_reasons or ()})
        why = f": {', '.join(reasons)}" if reasons else ", its clock was lower than in others"
        found.append(f"the GPU was slowed down in {slowed} of {total} measurements{why}")
    return found


def marks_of(
    rounds: int,
    aa: Mapping[str, Metric],
    load: Load | None,
    gpu: Mapping[str, Sequence[GpuRound]] | None = None,
    *,
    time_limit: bool = False,
) -> list[str]:
    """Return why the numbers of a turn take no part in a headline; none if they may.

    Args:
        rounds: In how many rounds they were taken.
        aa: The A/A ratio by metric; empty if the baseline did not give two numbers.
        load: What other processes used; None if the system does not say.
        gpu: The GPU in each round, by subject, where its state changes the numbers.
        time_limit: Whether they ended because time ran out, before it was enough.
    """
    found = [f"time limit: no round after the first {rounds} fitted"] if time_limit else []
    if rounds < LEAST_ROUNDS:
        found.append(f"{rounds} rounds, fewer than {LEAST_ROUNDS}")
    off = [(n, m.value) for n, m in aa.items() if not abs(m.value - 1) <= AA_LIMIT]
    found += [f"the A/A ratio of {name} is {value:.3f}, off by over 5 %" for name, value in off]
    if not aa:
        found.append("there is no A/A ratio: the baseline did not run twice")
    if load is None:
        found.append("the load of other processes could not be read")
    elif busy := [used for used in load.others if is_disturbed(used, load.cpus)]:
        found.append(
            f"other processes used up to {max(busy):.2f} of {load.cpus} cores in {len(busy)} of "
            f"{rounds} rounds"
        )
    return found + gpu_marks(gpu or {})


def round_values(metric: Metric) -> list[float]:
    """Return a metric's number for each round, the median of its samples; none if unknown."""
    ends = list(accumulate(metric.round_sizes))
    parts = zip([0, *ends], ends, strict=False)
    return [float(np.median(metric.samples[start:end])) for start, end in parts]


def ratio_in_turn(numerator: Metric, denominator: Metric) -> Estimate:
    """Return the ratio of two metrics that were measured in the same turn.

    It is paired; where the rounds are not known it is ``ratio_of_medians``.
    """
    above, below = round_values(numerator), round_values(denominator)
    if above and len(above) == len(below):
        return paired_ratio(above, below)
    return ratio_of_medians(numerator, denominator)


def p_value_in_turn(numerator: Metric, denominator: Metric) -> float:
    """Return the one-sided p value of "the numerator is not larger", over rounds (Wilcoxon).

    1 where no test is possible: rounds that are not known, or a number that is NaN, infinite or
    not positive.
    """
    above, below = round_values(numerator), round_values(denominator)
    both = np.asarray([*above, *below], dtype=np.float64)
    if not above or len(above) != len(below) or not (np.isfinite(both) & (both > 0)).all():
        return 1.0
    logs = np.log(both[: len(above)] / both[len(above) :])
    return float(wilcoxon(logs, alternative="greater").pvalue) if logs.any() else 1.0


def ratio_of_medians(numerator: Metric, denominator: Metric, *, level: float = 0.95) -> Estimate:
    """Return the ratio of two medians of one machine that did not take turns.

    The numbers of their rounds, or samples where rounds are unknown, are resampled independently
    (samples of one round are alike); without samples on both sides there is no interval. Over 0
    the ratio is infinite, or NaN.
    """
    value = _quotient(numerator.value, denominator.value)
    if len(numerator.samples) < 2 or len(denominator.samples) < 2:
        return Estimate(value, basis="ratio of single values, no interval")
    upper, lower = (
        np.asarray(round_values(m) or m.samples, dtype=np.float64) for m in (numerator, denominator)
    )
    if not np.isfinite(upper).all() or not np.isfinite(lower).all() or (lower <= 0).any():
        return Estimate(value, basis="no interval: a sample is NaN, infinite or not positive")
    n = min(upper.size, lower.size)
    kind = interval_kind(n)
    if kind == "range":
        ends = float(upper.min() / lower.max()), float(upper.max() / lower.min())
    else:
        ends = bounds(
            bootstrap_medians(upper, RESAMPLING_SEED)
            / bootstrap_medians(lower, RESAMPLING_SEED, stream=1),
            level,
        )
    basis = f"ratio of medians of {n} numbers each, not paired{described(kind, level)}"
    return Estimate(value, *ends, n, basis, kind)


def _quotient(numerator: float, denominator: float) -> float:
    if denominator == 0:
        return math.nan if numerator == 0 else math.copysign(math.inf, numerator)
    return numerator / denominator
