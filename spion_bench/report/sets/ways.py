"""How numbers of two sets are compared: ratios of times, and what their intervals say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from spion_bench.compare.alike import noise
from spion_bench.compare.verdict import LEVEL, judge
from spion_bench.records.paired import ratio_of_medians
from spion_bench.records.statistics import Estimate
from spion_bench.report.claims.significance import holm, p_value_of_ratio
from spion_bench.report.entries import Measure
from spion_bench.report.load import Outcome
from spion_bench.report.sets.compared import Compared, Difference, Shown, Verdict
from spion_bench.report.sets.places import Side

FAMILY_LEVEL: Final = 0.05
"""Chance of calling any of all numbers that did not change different (Holm)."""

_VERDICTS: Final[dict[str, Verdict]] = {
    "SLOWER": "more",
    "FASTER": "less",
    "SAME": "same",
    "UNCLEAR": "unclear",
}


def times_of(one: Measure, section: Shown, more: str, less: str) -> Compared:
    """Return how a metric of one pass is compared: as a ratio that is not paired."""

    def differ(base: Side, head: Side) -> Difference:
        ours, theirs = (side.cells.metric(one.pass_name, one.metric) for side in (base, head))
        if ours is None or theirs is None:
            return Difference(None)
        ratio = ratio_of_medians(theirs, ours, level=LEVEL)
        before, after = (side.cells.ok(one.pass_name) for side in (base, head))
        return judged(ratio, before, after, one.metric, level=LEVEL)

    return Compared(
        *(one.metric, one.label, section, one.pass_name, more, less),
        entry=lambda side: one.entry(side.cells),
        differ=differ,
        involved=lambda side: side.cells.ok(one.pass_name),
    )


def ratios_of_ratios(
    ratio: Callable[[Side], Estimate | None], metric: str
) -> Callable[[Side, Side], Difference]:
    """Return how a ratio within each set is compared: as the ratio of both.

    Args:
        ratio: The ratio within a set, with its 95 % interval.
        metric: What it is a ratio of, in the speed pass.
    """
    return partial(_differ_ratios, ratio=ratio, metric=metric)


def _differ_ratios(
    base: Side, head: Side, ratio: Callable[[Side], Estimate | None], metric: str
) -> Difference:
    ours, theirs = ratio(base), ratio(head)
    if ours is None or theirs is None:
        return Difference(None)
    before, after = (side.cells.ok("speed") for side in (base, head))
    return judged(over(theirs, ours), before, after, metric)


def judged(
    ratio: Estimate,
    ours: Sequence[Outcome],
    theirs: Sequence[Outcome],
    metric: str,
    *,
    level: float = 0.95,
) -> Difference:
    """Return a ratio of two sets with what its interval of a ``level`` says, beside their A/A."""
    if ratio.kind == "range":
        return Difference(ratio, "unclear")  # of too few samples for an interval
    pairs = zip(ours, theirs, strict=False)
    null = next((noise(a.record, b.record, metric) for a, b in pairs), None)
    verdict = _VERDICTS[judge(ratio, null)]
    return Difference(ratio, verdict, p_value=p_value_of_ratio(ratio, level))


def over(above: Estimate, below: Estimate) -> Estimate:
    """Return the ratio of two independent positive numbers with the interval of their own.

    The interval is that of a difference of two estimates (Zou and Donner 2008, Construction of
    confidence limits about effect measures), of their logarithms. Without it on one side, or where
    one is a range, there is none.
    """
    value = above.value / below.value if below.value else math.nan
    ends = (above.low, above.high, below.low, below.high)
    known = [end for end in ends if end is not None and 0 < end < math.inf]
    if len(known) < 4 or "range" in (above.kind, below.kind) or not 0 < value < math.inf:
        return Estimate(value, basis="no interval")
    top, low, high, bottom, least, most = map(
        math.log, (above.value, known[0], known[1], below.value, known[2], known[3])
    )
    down, up = math.hypot(top - low, most - bottom), math.hypot(high - top, bottom - least)
    basis = "ratio of two runs, from their 95 % intervals"
    return Estimate(
        value, value * math.exp(-down), value * math.exp(up), min(above.n, below.n), basis
    )


def adjusted(differences: Sequence[Difference | None]) -> list[Difference | None]:
    """Return the differences of two sets, judged together (Holm over all with a verdict)."""
    family = [one for one in differences if one is not None and one.verdict is not None]
    p_values = iter(holm([one.p_value for one in family]))

    def again(one: Difference | None) -> Difference | None:
        if one is None or one.verdict is None:
            return one
        if next(p_values) <= FAMILY_LEVEL or not one.is_clear:
            return one
        return replace(one, verdict="unclear", is_one_of_many=True)

    return [again(one) for one in differences]
