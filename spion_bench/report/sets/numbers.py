"""What is compared between sets: each number, its difference with an interval, or why not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from spion_bench.compare.alike import MACHINE, differences, noise
from spion_bench.compare.verdict import LEVEL, judge
from spion_bench.records import PassName
from spion_bench.records.paired import ratio_in_turn, ratio_of_medians
from spion_bench.records.statistics import Estimate, mean_over_seeds
from spion_bench.report.entries import ATTENTION, PEAK, STEP, Measure, accuracy_entry
from spion_bench.report.evidence.of_group import graded, may_compare
from spion_bench.report.groups import accuracies
from spion_bench.report.kernels.points import BOTH
from spion_bench.report.load import Outcome
from spion_bench.report.parts import Entry
from spion_bench.report.sets.places import Side
from spion_bench.report.tables.whole_training import TrainingTime, training_times

Verdict = Literal["more", "less", "same", "unclear"]
_VERDICTS: Final[dict[str, Verdict]] = {
    "SLOWER": "more",
    "FASTER": "less",
    "SAME": "same",
    "UNCLEAR": "unclear",
}


@dataclass(frozen=True)
class Difference:
    """What a set has more or less of than the first set.

    Attributes:
        estimate: The ratio over the first set's number, or the difference from it; None if the
            two are not compared.
        unit: ``times`` or ``points``.
        verdict: What the interval says; None where there is no comparison, or it ranks nothing.
        reasons: Why they are not compared.
        outcomes: The records of both sides.
    """

    estimate: Estimate | None
    unit: str
    verdict: Verdict | None = None
    reasons: tuple[str, ...] = ()
    outcomes: tuple[Outcome, ...] = ()

    @property
    def is_clear(self) -> bool:
        """Whether the sets differ by more than noise does."""
        return self.verdict in ("more", "less")


@dataclass(frozen=True)
class Compared:
    """A number that sets are compared by.

    Attributes:
        key: Names it in files.
        label: What a reader calls it.
        says: What its section shows, in a sentence.
        pass_name: The pass of its records.
        more: What a set is that has more of it.
        less: What a set is that has less.
        entry: Makes the entry of one side.
        differ: Makes the difference of two sides whose records were measured alike.
        involved: The records of a side that must have been measured alike.
    """

    key: str
    label: str
    says: str
    pass_name: PassName
    more: str
    less: str
    entry: Callable[[Side], Entry]
    differ: Callable[[Side, Side], Difference]
    involved: Callable[[Side], list[Outcome]]

    def difference(self, base: Side, head: Side) -> Difference:
        """Return what ``head`` has more of than ``base``, both with a number."""
        ours, theirs = self.involved(base), self.involved(head)
        if reasons := unlike(ours, theirs, is_timed=self.key != "accuracy"):
            return Difference(None, "", reasons=reasons)
        return replace(self.differ(base, head), outcomes=(*ours, *theirs))

    def word(self, verdict: Verdict) -> str:
        """Return a verdict as a reader says it."""
        return {"more": self.more, "less": self.less}.get(verdict, verdict)


def unlike(
    ours: Sequence[Outcome], theirs: Sequence[Outcome], *, is_timed: bool
) -> tuple[str, ...]:
    """Return what the records of two sets were not measured alike in, by method and seed.

    Machines may differ: that is what is compared. Threads change no accuracy.
    """
    ignored = MACHINE if is_timed else (*MACHINE, "threads")
    before = {(o.pass_name, o.method.name, o.cell.seed): o for o in ours}
    after = {(o.pass_name, o.method.name, o.cell.seed): o for o in theirs}
    shared = before.keys() & after.keys()
    if not shared or (is_timed and before.keys() != after.keys()):
        return ("other seeds",)
    found = [
        reason
        for key in sorted(shared)
        for reason in differences(before[key].record, after[key].record, ignored=ignored)
    ]
    return tuple(dict.fromkeys(found))


def times_of(one: Measure, says: str, more: str, less: str) -> Compared:
    """Return how a metric of one pass is compared: as a ratio that is not paired."""

    def differ(base: Side, head: Side) -> Difference:
        ours, theirs = (side.cells.metric(one.pass_name, one.metric) for side in (base, head))
        if ours is None or theirs is None:
            return Difference(None, "times")
        ratio = ratio_of_medians(theirs, ours, level=LEVEL)
        before, after = (side.cells.ok(one.pass_name) for side in (base, head))
        return Difference(ratio, "times", _verdict(ratio, before, after, one.metric))

    return Compared(
        *(one.metric, one.label, says, one.pass_name, more, less),
        entry=lambda side: one.entry(side.cells),
        differ=differ,
        involved=lambda side: side.cells.ok(one.pass_name),
    )


def _verdict(
    ratio: Estimate, ours: Sequence[Outcome], theirs: Sequence[Outcome], metric: str
) -> Verdict:
    if ratio.kind == "range":
        return "unclear"  # of too few samples for an interval
    pairs = zip(ours, theirs, strict=False)
    null = next((noise(a.record, b.record, metric) for a, b in pairs), None)
    return _VERDICTS[judge(ratio, null)]


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


def _speedup(side: Side) -> Entry:
    assert side.group is not None
    return STEP.ratio(side.group, side.cells)


def _differ_speedup(base: Side, head: Side) -> Difference:
    ratios = []
    for side in (head, base):
        dense = side.group.baseline if side.group else None
        pair = [
            cells.metric("speed", STEP.metric) if cells else None for cells in (dense, side.cells)
        ]
        if pair[0] is None or pair[1] is None:
            return Difference(None, "times")
        ratios.append(ratio_in_turn(pair[0], pair[1]))
    ratio = over(*ratios)
    before, after = (side.cells.ok("speed") for side in (base, head))
    return Difference(ratio, "times", _verdict(ratio, before, after, STEP.metric))


def _speedup_records(side: Side) -> list[Outcome]:
    baseline = side.group.baseline if side.group else None
    return [*side.cells.ok("speed"), *(baseline.ok("speed") if baseline else [])]


def _accuracy(side: Side) -> Entry:
    assert side.group is not None
    return graded(side.group, accuracy_entry(side.cells))


def _differ_accuracy(base: Side, head: Side) -> Difference:
    ours, theirs = (accuracies(_trained(side)) for side in (base, head))
    changes = [theirs[seed] - ours[seed] for seed in sorted(ours.keys() & theirs.keys())]
    found = mean_over_seeds(changes, "paired seed")
    if not all(side.group and may_compare(side.group) for side in (base, head)):
        return Difference(found, "points")
    if not any(changes):
        return Difference(found, "points", "same")
    if found.low is None or found.high is None or found.low <= 0 <= found.high:
        return Difference(found, "points", "unclear")
    return Difference(found, "points", "more" if found.low > 0 else "less")


def _trained(side: Side) -> list[Outcome]:
    return side.cells.proven() or side.cells.ok("accuracy")


def _time(side: Side) -> TrainingTime | None:
    return training_times(side.run, side.group).get(side.cells.method) if side.group else None


def _training(side: Side) -> Entry:
    found = _time(side)
    if found is None:
        return Entry.missing("no quiet step times in this setting")
    entry = Entry.estimate(found.seconds, "s", flag="warning" if found.marks else "")
    return entry.drawn_from([found.outcome])


def _differ_training(base: Side, head: Side) -> Difference:
    ours, theirs = _time(base), _time(head)
    if ours is None or theirs is None:
        return Difference(None, "times")
    ratio = over(theirs.seconds, ours.seconds)
    verdict = _verdict(ratio, [ours.outcome], [theirs.outcome], STEP.metric)
    return Difference(ratio, "times", verdict)


def _training_records(side: Side) -> list[Outcome]:
    found = _time(side)
    return [*_trained(side), *([found.outcome] if found else [])]


TASK_NUMBERS: Final = (
    Compared(
        "accuracy",
        "Test accuracy",
        "What each method reached on the same data with the same seeds, set by set.",
        "accuracy",
        "higher",
        "lower",
        entry=_accuracy,
        differ=_differ_accuracy,
        involved=_trained,
    ),
    Compared(
        "training",
        "Whole training",
        "How long a whole training takes, from the times of quiet steps.",
        "accuracy",
        "slower",
        "faster",
        entry=_training,
        differ=_differ_training,
        involved=_training_records,
    ),
    times_of(STEP, "How long a training step takes.", "slower", "faster"),
    Compared(
        "speedup",
        "Speed-up over dense",
        "How many times faster than dense attention a step is: a ratio within each set.",
        "speed",
        "higher",
        "lower",
        entry=_speedup,
        differ=_differ_speedup,
        involved=_speedup_records,
    ),
    times_of(ATTENTION, "How long attention alone takes.", "slower", "faster"),
    times_of(PEAK, "How much memory a step needs at its peak.", "more", "less"),
)
"""What tasks' cells are compared by, in a researcher's order."""

KERNEL_NUMBERS: Final = tuple(
    times_of(Measure(metric, label, "kernel", "ms"), says, "slower", "faster")
    for metric, label, says in (
        ("forward_ms", "Kernels: forward", "How long single operators take forward."),
        (BOTH, "Kernels: forward + backward", "The same with the gradients."),
    )
)
"""What kernel cases are compared by."""
