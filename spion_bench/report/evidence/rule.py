"""Whether a group of accuracies measures attention, and whether dense attention has converged.

A group measures attention if dense attention is better than each control (t interval of the
differences paired by seed) and than each shortcut (bootstrap over seeds and the same test
examples), each with a lower 95 % bound above 0. Otherwise its accuracies take no part in any
comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spion_bench.records.artifacts import Curve
from spion_bench.records.statistics import (
    RESAMPLING_SEED,
    Estimate,
    bounds,
    mean_over_seeds,
)

MOST_GAIN: Final = 0.005
"""Dense attention has converged if its last tenth gains less dev accuracy than this."""

_RESAMPLES = 2000
_RESAMPLES_AT_ONCE = 100  # bounds the memory of a bootstrap over many examples


@dataclass(frozen=True)
class Evidence:
    """What a group's controls and shortcuts say.

    Attributes:
        differences: Dense attention's accuracy minus that of each control and shortcut, by name.
        missing: What was not run and has to be.
        gain: Dev accuracy that dense attention gained in the last tenth of its budget over the
            tenth before, mean over seeds; None if it was not evaluated in both.
    """

    differences: Mapping[str, Estimate]
    missing: tuple[str, ...] = ()
    gain: float | None = None

    @property
    def not_beaten(self) -> list[str]:
        """The controls and shortcuts than which dense attention is not shown to be better."""
        return [n for n, d in self.differences.items() if d.low is None or d.low <= 0]

    @property
    def measures_attention(self) -> bool:
        """Whether accuracies of this group say anything about attention."""
        return not self.missing and bool(self.differences) and not self.not_beaten

    @property
    def converged(self) -> bool | None:
        """Whether dense attention has stopped improving; None if unknown."""
        return None if self.gain is None else self.gain < MOST_GAIN

    @property
    def sentence(self) -> str:
        """Say in one sentence what accuracies of this group are worth."""
        if self.missing:
            found = f"Not shown to measure attention: {', '.join(self.missing)} not run"
        elif not self.measures_attention:
            found = (
                "Does not measure attention: dense attention is not shown to be better than "
                f"{', '.join(self.not_beaten)}"
            )
        else:
            found = "Measures attention: dense attention is better than all controls and shortcuts"
        ends = {True: "; converged.", False: "; not converged.", None: "."}
        return found + ends[self.converged]


def minus_control(dense: Mapping[int, float], control: Mapping[int, float]) -> Estimate | None:
    """Return the mean difference of accuracies, paired by seed; None if no seed has both."""
    seeds = sorted(dense.keys() & control.keys())
    if not seeds:
        return None
    return mean_over_seeds([dense[s] - control[s] for s in seeds], "paired seed")


def minus_shortcut(
    dense: Sequence[NDArray[np.bool_]], shortcut: NDArray[np.bool_]
) -> Estimate | None:
    """Return the mean difference of accuracies with a bootstrap over seeds and test examples.

    Args:
        dense: Which test examples each seed answers correctly, bool ``[n]`` each.
        shortcut: The same of the predictor, on the same examples in the same order.

    Returns:
        None without seeds. A single seed is resampled over examples alone.

    Raises:
        ValueError: If the numbers of examples differ.
    """
    if not dense:
        return None
    if any(each.shape != shortcut.shape for each in dense):
        lengths = [len(each) for each in dense]
        raise ValueError(
            f"shortcut: expected the {lengths} test examples of each seed, got {len(shortcut)}"
        )
    difference = np.stack(dense).astype(np.float64) - shortcut
    n_seeds, n = difference.shape
    means = [
        ((seeds @ difference) * examples).sum(axis=1) / (n_seeds * n)
        for seeds, examples in _resamples(n_seeds, n)
    ]
    low, high = bounds(np.concatenate(means))
    basis = "bootstrap over seeds and test examples"
    return Estimate(float(difference.mean()), low, high, n_seeds, basis, "bootstrap")


@lru_cache(maxsize=2)  # drawing takes longer than all else, and every predictor has the same
def _resamples(n_seeds: int, n: int) -> list[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
    """Return how often resamples draw each seed and each test example, some at a time."""
    generator = np.random.default_rng(RESAMPLING_SEED)
    found = []
    for _ in range(_RESAMPLES // _RESAMPLES_AT_ONCE):
        seeds = generator.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), _RESAMPLES_AT_ONCE)
        examples = generator.multinomial(n, np.full(n, 1 / n), _RESAMPLES_AT_ONCE)
        # A byte each, as many are kept: no example is drawn hundreds of times among so many.
        found.append((seeds, np.minimum(examples, 255).astype(np.uint8)))
    return found


def last_gain(curves: Sequence[Curve]) -> float | None:
    """Return the dev accuracy of the last tenth of the budget minus that of the tenth before."""
    gains = [gain for curve in curves if (gain := _gain(curve)) is not None]
    return sum(gains) / len(gains) if gains else None


def _gain(curve: Curve) -> float | None:
    if not len(curve.step):
        return None
    share: NDArray[Any] = curve.dev_step / curve.step.max()
    last = curve.dev_accuracy[share > 0.9]
    before = curve.dev_accuracy[(share > 0.8) & (share <= 0.9)]
    is_known = len(last) and len(before) and np.isfinite([*last, *before]).all()
    return float(last.mean() - before.mean()) if is_known else None
