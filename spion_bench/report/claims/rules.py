"""The verdict rules: what each claim looks at in every setting of a report's records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from spion_bench.records import Metric, PassName
from spion_bench.records.paired import (
    p_value_in_turn,
    ratio_in_turn,
    ratio_of_medians,
    round_values,
)
from spion_bench.records.ratios import CHAMPION, TRAINING
from spion_bench.records.statistics import Estimate, mean_over_seeds
from spion_bench.report.claims.claim import RuleName
from spion_bench.report.claims.verdict import Finding
from spion_bench.report.entries import PEAK, STEP
from spion_bench.report.evidence.of_group import evidence_of
from spion_bench.report.figures.growth import FEWEST_LENGTHS, lengths_of
from spion_bench.report.groups import Group, MethodCells, groups
from spion_bench.report.load import Outcome, RecordSet
from spion_bench.report.tables.ratios import ratios_of
from spion_bench.report.words import plural

FEWEST_SEEDS: Final = 3
FEWEST_RIVALS: Final = 3
"""The best of fewer rivals does not speak for what is claimed over all of them."""
_POINT: Final = "points"


def findings_of(rule: RuleName, run: RecordSet) -> list[Finding]:
    """Return what the settings of a run say to a rule, setting by setting."""
    return _RULES[rule](run)


def _training_speed(run: RecordSet) -> list[Finding]:
    found = []
    for group in groups(run, ("speed", "accuracy")):
        leads = {lead.measure: lead for lead in ratios_of(group) if lead.kind == "fastest"}
        lead = leads.get(TRAINING, leads.get(STEP.metric))
        if lead is not None:
            step_only = [] if lead.measure == TRAINING else ["a step was timed, not a training"]
            marks = [*lead.marks, *step_only, *_rival_marks(_n_rivals(group, "speed"))]
            found.append(_of_ratio(group, lead.ratio, lead.p_value, lead.against, marks))
    return found


def _memory(run: RecordSet) -> list[Finding]:
    found = []
    for group in groups(run, ("memory",)):
        own = group.methods.get(CHAMPION)
        metric = own.metric(PEAK.pass_name, PEAK.metric) if own else None
        rivals = [
            (name, peak)
            for name, cells in group.methods.items()
            if cells.info.role == "rival"
            and (peak := cells.metric(PEAK.pass_name, PEAK.metric)) is not None
        ]
        if own is None or metric is None or not rivals:
            continue
        name, least = min(rivals, key=lambda rival: rival[1].value)
        marks = [*own.marks("memory"), *group.methods[name].marks("memory")]
        marks += _rival_marks(len(rivals))
        ratio = ratio_in_turn(least, metric)
        found.append(_of_ratio(group, ratio, p_value_in_turn(least, metric), name, marks))
    return found


def _growth(run: RecordSet) -> list[Finding]:
    found = []
    for lengths in lengths_of(run):
        steps = [(group, _step_speedup(group)) for group in lengths.members]
        timed = [(group, speedup) for group, speedup in steps if speedup is not None]
        if len(timed) < FEWEST_LENGTHS:
            continue
        (first, short), (last, long) = timed[0], timed[-1]
        p_value = 1.0
        if min(len(short.samples), len(long.samples)) > 1:
            test = stats.mannwhitneyu(long.samples, short.samples, alternative="greater")
            p_value = float(test.pvalue)
        against = f"that at L\u00a0=\u00a0{first.setting.length}"
        marks = [mark for group in (first, last) for mark in _step_marks(group)]
        found.append(_of_ratio(last, ratio_of_medians(long, short), p_value, against, marks))
    return found


def _step_speedup(group: Group) -> Metric | None:
    """Return how many times faster SPION-CF's step is than the baseline's, round by round."""
    own = group.methods.get(CHAMPION)
    above = group.baseline.metric(STEP.pass_name, STEP.metric) if group.baseline else None
    below = own.metric(STEP.pass_name, STEP.metric) if own else None
    if above is None or below is None:
        return None
    rounds = round_values(above), round_values(below)
    is_paired = len(rounds[0]) == len(rounds[1])
    samples = [a / b for a, b in zip(*rounds, strict=True)] if is_paired else []
    value = ratio_in_turn(above, below).value
    return Metric(value=value, unit="ratio", lower_is_better=False, samples=samples)


def _step_marks(group: Group) -> list[str]:
    sides = (group.methods.get(CHAMPION), group.baseline)
    return [mark for cells in sides if cells for mark in cells.marks("speed")]


def _layers_differ(run: RecordSet) -> list[Finding]:
    found = []
    for group in groups(run, ("accuracy",)):
        cells = group.methods.get(CHAMPION)
        runs = [
            masks for outcome in (cells.proven() if cells else []) if (masks := _masks(outcome))
        ]
        if len(runs) < FEWEST_SEEDS or len(runs[0]) < 2:
            continue
        # Per seed: how much of a layer's blocks another seed's same layer has, less another layer.
        gaps = []
        for i, own in enumerate(runs):
            others = [runs[j] for j in range(len(runs)) if j != i]
            same = [_overlap(a, b) for other in others for a, b in zip(own, other, strict=True)]
            differ = [_overlap(a, b) for a, b in combinations(own, 2)]
            gaps.append(float(np.mean(same) - np.mean(differ)))
        what = "another layer of the same run; the overlap with the same layer of other seeds"
        found.append(_of_differences(group, gaps, "ratio", what))
    return found


def _quality(run: RecordSet) -> list[Finding]:
    found = []
    for group in groups(run, ("accuracy",)):
        rivals = [
            (name, gaps)
            for name, cells in group.methods.items()
            if cells.info.role == "rival" and (gaps := _accuracy_gaps(group, cells))
        ]
        if rivals:
            # The best rival is the one against which least is won.
            name, gaps = min(rivals, key=lambda rival: float(np.mean(rival[1])))
            marks = _rival_marks(len(rivals))
            found.append(_of_differences(group, gaps, _POINT, name, marks))
    return found


def _filter_and_fill(run: RecordSet) -> list[Finding]:
    return [
        _of_differences(group, gaps, _POINT, cells.method)
        for group in groups(run, ("accuracy",))
        for cells in group.spion
        if cells.info.variant in ("C", "F")
        and cells.method == cells.info.base
        and (gaps := _accuracy_gaps(group, cells))
    ]


_RULES: Final[dict[RuleName, Callable[[RecordSet], list[Finding]]]] = {
    "training_speed": _training_speed,
    "quality": _quality,
    "memory": _memory,
    "growth": _growth,
    "layers_differ": _layers_differ,
    "filter_and_fill": _filter_and_fill,
}


def _of_ratio(
    group: Group, ratio: Estimate, p_value: float, against: str, marks: Sequence[str]
) -> Finding:
    marked = tuple(dict.fromkeys(marks))
    device = group.setting.device
    return Finding(group.label, device, ratio, "times", 1.0, p_value, against, marked)


def _of_differences(
    group: Group, gaps: Sequence[float], unit: str, against: str, marks: Sequence[str] = ()
) -> Finding:
    """Return a finding of one difference per seed."""
    estimate = mean_over_seeds(gaps, "paired seed")
    p_value = 1.0
    if len(gaps) > 1 and len(set(gaps)) > 1:
        p_value = float(stats.ttest_1samp(gaps, 0.0, alternative="greater").pvalue)
    marks = [*marks, *(_accuracy_marks(group) if unit == _POINT else ())]
    device = group.setting.device
    return Finding(group.label, device, estimate, unit, 0.0, p_value, against, tuple(marks))


def _n_rivals(group: Group, pass_name: PassName) -> int:
    """Return how many rivals have numbers of a pass."""
    return sum(c.info.role == "rival" and bool(c.ok(pass_name)) for c in group.methods.values())


def _rival_marks(n_rivals: int) -> list[str]:
    return [f"only {plural(n_rivals, 'rival')} measured"] if n_rivals < FEWEST_RIVALS else []


def _accuracy_gaps(group: Group, other: MethodCells) -> list[float]:
    """Return SPION-CF's test accuracy minus the other's, seed by seed."""
    return _gaps(group.methods.get(CHAMPION), other)


def _gaps(own: MethodCells | None, other: MethodCells) -> list[float]:
    sides = [
        {
            outcome.cell.seed: outcome.measured.metrics["test_accuracy"].value
            for outcome in (cells.proven() if cells else [])
            if "test_accuracy" in outcome.measured.metrics
        }
        for cells in (own, other)
    ]
    return [sides[0][seed] - sides[1][seed] for seed in sorted(sides[0].keys() & sides[1].keys())]


def _accuracy_marks(group: Group) -> list[str]:
    """Return why a setting's accuracies say nothing about attention; none if they do."""
    evidence = evidence_of(group)
    return [] if evidence is None or evidence.measures_attention else [evidence.sentence[:-1]]


def _masks(outcome: Outcome) -> list[NDArray[np.bool_]]:
    """Return the kept blocks off the diagonal, layer by layer."""
    layers = outcome.artifact.layers if outcome.artifact else ()
    return [layer.kept & ~np.eye(len(layer.kept), dtype=bool) for layer in layers]


def _overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the share of the blocks of either that both have (Jaccard); 1 if neither has any."""
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 1.0
