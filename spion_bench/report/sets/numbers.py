"""Everything that sets are compared by, in a researcher's order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from scipy.stats import ttest_1samp

from spion_bench.records.paired import ratio_in_turn
from spion_bench.records.ratios import CHAMPION, FLOOR, KINDS, MEASURES, Comparison, Kind
from spion_bench.records.statistics import Estimate, mean_over_seeds
from spion_bench.report.entries import (
    ATTENTION,
    PEAK,
    STEP,
    Measure,
    accuracy_entry,
    marked,
    no_number,
)
from spion_bench.report.evidence.of_group import graded, may_compare
from spion_bench.report.groups import MethodCells, accuracies
from spion_bench.report.kernels.points import BOTH
from spion_bench.report.load import Outcome
from spion_bench.report.parts import Entry
from spion_bench.report.sets.compared import Compared, Difference, Shown
from spion_bench.report.sets.places import Side
from spion_bench.report.sets.ways import judged, over, ratios_of_ratios, times_of
from spion_bench.report.tables.breakdown import PART_LABELS, shares_of
from spion_bench.report.tables.energy import STEP_ENERGY
from spion_bench.report.tables.ratios import ratio_entry, ratios_of
from spion_bench.report.tables.whole_training import TrainingTime, training_times


def _accuracy(side: Side) -> Entry:
    assert side.group is not None
    return graded(side.group, accuracy_entry(side.cells))


def _differ_accuracy(base: Side, head: Side) -> Difference:
    ours, theirs = (accuracies(_trained(side)) for side in (base, head))
    changes = [theirs[seed] - ours[seed] for seed in sorted(ours.keys() & theirs.keys())]
    found = mean_over_seeds(changes, "paired seed")
    if not all(side.group and may_compare(side.group) for side in (base, head)):
        return Difference(found)
    if not any(changes):
        return Difference(found, "same")
    if found.low is None or found.high is None or found.low <= 0 <= found.high:
        return Difference(found, "unclear")
    chance = float(ttest_1samp(changes, 0.0).pvalue)
    return Difference(found, "more" if found.low > 0 else "less", p_value=chance)


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
        return Difference(None)
    ratio = over(theirs.seconds, ours.seconds)
    return judged(ratio, [ours.outcome], [theirs.outcome], STEP.metric)


def _training_records(side: Side) -> list[Outcome]:
    found = _time(side)
    return [*_trained(side), *([found.outcome] if found else [])]


def _against(side: Side, method: str) -> MethodCells | None:
    return side.group.methods.get(method) if side.group else None


def _step_ratio(side: Side, above: str = "", below: str = "") -> Estimate | None:
    """Return the ratio of two steps of a turn; "" stands for the side's own method."""
    cells = [_against(side, name) if name else side.cells for name in (above, below)]
    metrics = [one.metric("speed", STEP.metric) if one else None for one in cells]
    top, bottom = metrics
    return None if top is None or bottom is None else ratio_in_turn(top, bottom)


def _with_records(side: Side, method: str) -> list[Outcome]:
    other = _against(side, method)
    own = side.cells.method == method
    return [*side.cells.ok("speed"), *(other.ok("speed") if other and not own else [])]


def _speedup(side: Side) -> Entry:
    assert side.group is not None
    return STEP.ratio(side.group, side.cells)


def _cost(side: Side) -> Entry:
    if side.cells.method == FLOOR:
        return Entry.absent("the floor", "baseline")
    ratio = _step_ratio(side, below=FLOOR)
    if ratio is None:
        is_timed = side.cells.metric("speed", STEP.metric) is not None
        return Entry.missing(
            no_number(FLOOR) if is_timed else side.cells.why_missing("speed", STEP.metric)
        )
    entry = marked(Entry.estimate(ratio, "times"), side.cells.marks("speed"))
    return entry.drawn_from(_with_records(side, FLOOR))


def _comparison(side: Side, kind: Kind, measure: str) -> Comparison | None:
    if side.group is None or side.cells.method != CHAMPION:
        return None
    found = ratios_of(side.group)
    return next((one for one in found if (one.kind, one.measure) == (kind, measure)), None)


def _ratio_records(side: Side, kind: Kind, measure: str) -> list[Outcome]:
    found = _comparison(side, kind, measure)
    return [] if found is None else _with_records(side, found.against)


def _ratio_number(kind: Kind, measure: str) -> Compared:
    """Return how one of the four ratios of SPION-CF is compared, for a step or attention alone."""

    def estimate(side: Side) -> Estimate | None:
        found = _comparison(side, kind, measure)
        return found.ratio if found else None

    return Compared(
        f"{kind}_{measure}",
        f"{MEASURES[measure].capitalize()}: {KINDS[kind]}",
        _RATIOS,
        "speed",
        *_HIGHER_LOWER,
        entry=lambda side: ratio_entry(_comparison(side, kind, measure)).drawn_from(
            _ratio_records(side, kind, measure)
        ),
        differ=ratios_of_ratios(estimate, measure),
        involved=partial(_ratio_records, kind=kind, measure=measure),
    )


def _share_number(part: str) -> Compared:
    """Return how the share of a step that a part of it takes is compared; it ranks nothing."""

    def share(side: Side) -> float | None:
        return shares_of(side.cells).get(part)

    def entry(side: Side) -> Entry:
        found = share(side)
        if found is None:
            return Entry.missing("where a step goes was not measured")
        return Entry.number(found, "ratio").drawn_from(side.cells.ok("breakdown"))

    def differ(base: Side, head: Side) -> Difference:
        ours, theirs = share(base), share(head)
        if ours is None or theirs is None:
            return Difference(None)
        return Difference(Estimate(theirs - ours, basis="of one profile each, no interval"))

    return Compared(
        f"share_{part}",
        f"Share of a step: {PART_LABELS[part].lower()}",
        _BREAKDOWN,
        "breakdown",
        *_HIGHER_LOWER,
        entry=entry,
        differ=differ,
        involved=lambda side: side.cells.ok("breakdown"),
        unit="points",
    )


_SLOWER_FASTER: Final = ("slower", "faster")
_HIGHER_LOWER: Final = ("higher", "lower")
_RATIOS: Final = Shown(
    "ratios",
    "The four ratios",
    "How many times faster SPION-CF is than the closest method of each kind, within each set.",
)
_BREAKDOWN: Final = Shown(
    "breakdown",
    "Where a step goes",
    "Which share of a training step each of its parts takes, by torch's profiler.",
)


def _task_numbers() -> Iterator[Compared]:
    says = "What each method reached on the same data with the same seeds, set by set."
    yield Compared(
        "accuracy",
        "Test accuracy",
        Shown("accuracy", "Test accuracy", says),
        "accuracy",
        *_HIGHER_LOWER,
        entry=_accuracy,
        differ=_differ_accuracy,
        involved=_trained,
        unit="points",
    )
    says = "How long a whole training takes, from the times of quiet steps."
    yield Compared(
        "training",
        "Whole training",
        Shown("training", "Whole training", says),
        "accuracy",
        *_SLOWER_FASTER,
        entry=_training,
        differ=_differ_training,
        involved=_training_records,
    )
    yield _timed(STEP, "How long a training step takes.")
    yield _step_number(
        *("speedup", "Speed-up over dense", _speedup, "dense_sdpa", _HIGHER_LOWER),
        "How many times faster than dense attention a step is: a ratio within each set.",
        partial(_step_ratio, above="dense_sdpa"),
    )
    yield _step_number(
        *("cost", "Cost of attention", _cost, FLOOR, _HIGHER_LOWER),
        "How many times a step takes of the same model without attention, within each set.",
        partial(_step_ratio, below=FLOOR),
    )
    for measure in (STEP.metric, ATTENTION.metric):
        for kind in KINDS:
            yield _ratio_number(kind, measure)
    yield _timed(ATTENTION, "How long attention alone takes.")
    for part in PART_LABELS:
        yield _share_number(part)
    memory = Shown(PEAK.metric, PEAK.label, "How much memory a step needs at its peak.")
    yield times_of(PEAK, memory, "more", "less")
    energy = Shown("energy", "Energy of a step", "How many joules a training step takes.")
    yield times_of(STEP_ENERGY, energy, "more", "less")


def _timed(one: Measure, says: str) -> Compared:
    return times_of(one, Shown(one.metric, one.label, says), *_SLOWER_FASTER)


def _step_number(
    key: str,
    label: str,
    entry: Callable[[Side], Entry],
    against: str,
    words: tuple[str, str],
    says: str,
    ratio: Callable[[Side], Estimate | None],
) -> Compared:
    return Compared(
        *(key, label, Shown(key, label, says), "speed", *words),
        entry=entry,
        differ=ratios_of_ratios(ratio, STEP.metric),
        involved=partial(_with_records, method=against),
    )


TASK_NUMBERS: Final = tuple(_task_numbers())
"""What tasks' cells are compared by."""

KERNEL_NUMBERS: Final = tuple(
    _timed(Measure(metric, label, "kernel", "ms"), says)
    for metric, label, says in (
        ("forward_ms", "Kernels: forward", "How long single operators take forward."),
        (BOTH, "Kernels: forward + backward", "The same with the gradients."),
    )
)
"""What kernel cases are compared by."""
