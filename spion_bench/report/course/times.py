"""When runs reach an accuracy, by their curves and the quiet times of single steps.

An accuracy run is not timed with care, so its time is computed: each step takes what a step of its
phase took in the speed pass, and the patterns what they took in the run itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spion_bench.records.artifacts import Curve
from spion_bench.records.statistics import Estimate, mean_over_seeds

SHARES: Final = (0.90, 0.95, 0.99)
"""Of dense attention's final accuracy."""


@dataclass(frozen=True)
class StepTimes:
    """What a method's training steps take when the machine is quiet.

    Attributes:
        dense_ms: A step of the dense phase, or any step of a method without one, in ms.
        sparse_ms: A step after it, in ms; None for a method without learned patterns.
        basis: Where the times come from, in a few words.
    """

    dense_ms: float
    sparse_ms: float | None
    basis: str


@dataclass(frozen=True)
class TimedRun:
    """Dev accuracy of one training run against step and time.

    Attributes:
        steps: Step of each evaluation, int64 ``[m]``.
        seconds: Computed training time until then, float64 ``[m]``.
        accuracy: Dev accuracy (0 to 1), float64 ``[m]``.
        total_s: Computed time of all steps and the patterns, in seconds.
    """

    steps: NDArray[Any]
    seconds: NDArray[Any]
    accuracy: NDArray[Any]
    total_s: float

    def reached(self, target: float) -> float | None:
        """Return the seconds until the first evaluation with that accuracy; None if none has."""
        places = np.flatnonzero(self.accuracy >= target)
        return float(self.seconds[places[0]]) if len(places) else None


@dataclass(frozen=True)
class Reach:
    """How long a method takes to a share of dense attention's final accuracy.

    Attributes:
        share: The share.
        target: The accuracy.
        seconds: Mean over seeds; None unless every seed got there.
        n_reached: Seeds that got there.
        n_seeds: All seeds.
    """

    share: float
    target: float
    seconds: Estimate | None
    n_reached: int
    n_seeds: int


def timed_run(curve: Curve, times: StepTimes, pattern_s: float = 0.0) -> TimedRun:
    """Return a run's accuracy against time.

    A run whose layers turn sparse one by one counts as dense until all have.

    Args:
        curve: Its course, which has a point for every step.
        times: What its steps take.
        pattern_s: What its patterns took, in seconds; they come before the first sparse step.

    Raises:
        ValueError: If it has sparse steps, and ``times`` has no time of one.
    """
    if curve.sparse.any() and times.sparse_ms is None:
        raise ValueError("times: expected sparse_ms for a run with sparse steps, got None")
    costs = np.where(curve.sparse, times.sparse_ms or 0.0, times.dense_ms) / 1e3
    first = np.flatnonzero(curve.sparse)[:1]
    costs[first] += pattern_s
    ends = np.concatenate([[0.0], np.cumsum(costs)])
    done = np.searchsorted(curve.step, curve.dev_step, side="right")
    return TimedRun(curve.dev_step, ends[done], curve.dev_accuracy, float(ends[-1]))


def final_accuracy(runs: Sequence[TimedRun]) -> float | None:
    """Return the mean of the runs' last dev accuracies; None if one was never evaluated."""
    if not runs or any(not len(run.accuracy) for run in runs):
        return None
    return float(np.mean([run.accuracy[-1] for run in runs]))


def time_to(runs: Sequence[TimedRun], final: float) -> list[Reach]:
    """Return how long a method's runs take to each of ``SHARES`` of ``final``."""
    found = []
    for share in SHARES:
        reached = [s for run in runs if (s := run.reached(share * final)) is not None]
        is_known = bool(runs) and len(reached) == len(runs)
        seconds = mean_over_seeds(reached) if is_known else None
        found.append(Reach(share, share * final, seconds, len(reached), len(runs)))
    return found


def training_speedup(
    dense: Mapping[int, TimedRun], other: Mapping[int, TimedRun]
) -> Estimate | None:
    """Return how many times faster whole trainings are than dense ones, paired by seed."""
    ratios = [dense[s].total_s / other[s].total_s for s in sorted(dense.keys() & other.keys())]
    return mean_over_seeds(ratios) if ratios else None
