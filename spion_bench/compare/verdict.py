"""The verdict on one case: from the ratio of two sides, and from what noise alone does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from spion_bench.records.paired import StoppingRule
from spion_bench.records.statistics import Estimate

Verdict = Literal["FASTER", "SLOWER", "SAME", "UNCLEAR"]

LEVEL: Final = 0.99
"""Level of the intervals that verdicts are made of."""

SAME_WITHIN: Final = 0.03
"""Two sides are the same only if the whole interval lies within this share of 1."""

RULE: Final = StoppingRule(least_rounds=8, most_rounds=40, half_width=0.015, level=LEVEL)
"""When a comparison is enough."""


@dataclass(frozen=True)
class Compared:
    """One case on both sides.

    Attributes:
        case: What was measured.
        verdict: Whether HEAD is slower than BASE.
        ratio: HEAD's time over BASE's.
        null: BASE's time over its own, or None if that is unknown.
        base_ms: Median time of BASE.
        head_ms: Median time of HEAD.
    """

    case: str
    verdict: Verdict
    ratio: Estimate
    null: Estimate | None
    base_ms: float
    head_ms: float


def judge(ratio: Estimate, null: Estimate | None) -> Verdict:
    """Return the verdict on HEAD's time over BASE's.

    FASTER or SLOWER: the ratio's interval excludes 1 and lies outside that of BASE over itself.
    SAME: the interval contains 1 and lies within 3 % of it. Everything else is UNCLEAR, and so is
    a ratio without an interval.
    """
    if ratio.low is None or ratio.high is None:
        return "UNCLEAR"
    if ratio.low <= 1 <= ratio.high:
        within = ratio.low >= 1 / (1 + SAME_WITHIN) and ratio.high <= 1 + SAME_WITHIN
        return "SAME" if within else "UNCLEAR"
    if null is None or null.low is None or null.high is None:
        return "UNCLEAR"
    if ratio.low <= null.high and null.low <= ratio.high:  # noise alone reaches as far
        return "UNCLEAR"
    return "SLOWER" if ratio.low > 1 else "FASTER"
