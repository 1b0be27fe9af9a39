"""How likely differences are by chance alone, and how unlikely they must be if many are judged."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import ndtr, ndtri

from spion_bench.records.statistics import Estimate


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted by Holm's step-down method, in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def p_value_of_ratio(ratio: Estimate, level: float = 0.95) -> float:
    """Return the two-sided p value of "the ratio is 1", from its interval of a ``level``.

    Of a normal distribution of its logarithm (Altman and Bland 2011, How to obtain the P value from
    a confidence interval); 1 without an interval, or where the ratio or an end is not positive.
    """
    ends = (ratio.low, ratio.high)
    low, high = (math.nan if end is None else end for end in ends)
    if not (0 < low < math.inf and 0 < high < math.inf and 0 < ratio.value < math.inf):
        return 1.0
    error = math.log(high / low) / (2 * float(ndtri((1 + level) / 2)))
    distance = abs(math.log(ratio.value))
    return float(2 * ndtr(-distance / error)) if error > 0 else float(distance == 0)
