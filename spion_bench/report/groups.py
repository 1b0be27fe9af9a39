"""Groups the outcomes of a run: by setting, then by method, then by pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Final

import numpy as np

from spion_bench.records import MethodInfo, Metric, PassName, PatternInfo, TaskCell
from spion_bench.report.load import Outcome, RecordSet
from spion_bench.report.methods import BASELINE, CHAMPION, is_spion, ordered
from spion_bench.report.parts import Entry
from spion_bench.report.setting import Setting
from spion_bench.report.words import format_percent

PATTERN_PASSES: Final[tuple[PassName, ...]] = ("accuracy", "speed", "memory", "gate")
"""Where to look for a method's pattern: first where it was made, then where it was used."""

_NO_INTERVAL = dict.fromkeys(("low", "high", "interval"))


@dataclass(frozen=True)
class MethodCells:
    """Everything one method did in one setting, or one implementation in one kernel case."""

    info: MethodInfo
    outcomes: tuple[Outcome, ...]

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.info.name

    def of(self, pass_name: PassName) -> list[Outcome]:
        """Return the outcomes of one pass, whatever their status, by seed."""
        return list(self._by_pass.get(pass_name, ()))

    @cached_property
    def _by_pass(self) -> dict[PassName, list[Outcome]]:
        found: dict[PassName, list[Outcome]] = {}
        for outcome in sorted(self.outcomes, key=lambda outcome: outcome.cell.seed):
            found.setdefault(outcome.pass_name, []).append(outcome)
        return found

    def ok(self, pass_name: PassName) -> list[Outcome]:
        """Return the outcomes of one pass that carry numbers."""
        return [outcome for outcome in self.of(pass_name) if outcome.is_ok]

    def proven(self) -> list[Outcome]:
        """Return the accuracy outcomes that show what the method's name says.

        A SPION run that stayed dense for too long is left out: it must never pass as SPION.
        """
        return [outcome for outcome in self.ok("accuracy") if is_what_it_says(outcome)]

    def metric(self, pass_name: PassName, name: str) -> Metric | None:
        """Return one metric; if several cells (seeds) have it, their samples are pooled."""
        found = [o.measured.metric(name) for o in self.ok(pass_name)]
        metrics = [metric for metric in found if metric is not None]
        if len(metrics) <= 1:
            return metrics[0] if metrics else None
        samples = [sample for metric in metrics for sample in (metric.samples or [metric.value])]
        sizes = [metric.round_sizes for metric in metrics]
        pooled = {
            "value": float(np.median(samples)),
            "samples": samples,
            "round_sizes": [n for part in sizes for n in part] if all(sizes) else [],
        }
        return metrics[0].model_copy(update={**pooled, **_NO_INTERVAL})

    def marks(self, pass_name: PassName) -> list[str]:
        """Return why the numbers of a pass take no part in a headline; none if they may."""
        turns = [outcome.measured.turn for outcome in self.ok(pass_name)]
        return list(dict.fromkeys(mark for turn in turns if turn for mark in turn.marks))

    def why_missing(self, pass_name: PassName, name: str) -> str:
        """Return in a few words why a metric of a pass is missing."""
        failed = [o.measured for o in self.of(pass_name) if not o.is_ok]
        if failed:
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            return f"{failed[0].status}: {failed[0].reason or 'no reason recorded'}{more}"
        if self.ok(pass_name):
            return f"the record has no {name}"
        return f"no {pass_name} cell in this run"

    def missing(self, pass_name: PassName, name: str) -> Entry:
        """Return the entry of a missing metric, with its reason."""
        return Entry.missing(self.why_missing(pass_name, name))

    def patterns(self) -> list[PatternInfo]:
        """Return the patterns of the first pass that has any."""
        for pass_name in PATTERN_PASSES:
            found = [o.measured.pattern for o in self.ok(pass_name) if o.measured.pattern]
            if found:
                return found
        return []


def cells_by_method(outcomes: Sequence[Outcome]) -> dict[str, MethodCells]:
    """Return what each method did, in the order of every table."""
    by_name: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_name.setdefault(outcome.method.name, []).append(outcome)
    infos = [those[-1].method for those in by_name.values()]
    return {
        name: MethodCells(by_name[name][-1].method, tuple(by_name[name])) for name in ordered(infos)
    }


@dataclass(frozen=True, eq=False)
class Group:
    """One setting with all its methods; numbers within a group may be compared.

    ``shortcuts`` are its predictors without attention, which are no methods.
    """

    setting: Setting
    label: str
    methods: dict[str, MethodCells] = field(default_factory=dict)
    shortcuts: tuple[Outcome, ...] = ()

    @property
    def outcomes(self) -> list[Outcome]:
        """All outcomes of the group, method by method."""
        return [outcome for cells in self.methods.values() for outcome in cells.outcomes]

    @property
    def baseline(self) -> MethodCells | None:
        """The method that ratios are taken over, if it was run in this setting."""
        return self.methods.get(BASELINE)

    @property
    def champion(self) -> MethodCells | None:
        """The SPION variant that the publication recommends, if it was run in this setting."""
        variants = [c for c in self.spion if c.info.variant == CHAMPION]
        return variants[0] if variants else None

    @property
    def spion(self) -> list[MethodCells]:
        """SPION's variants, the recommended one last."""
        return [cells for cells in self.methods.values() if is_spion(cells.info)]


def is_level(outcome: Outcome) -> bool:
    """Return whether a cell differs on purpose from its group, as a level of an ablation."""
    return isinstance(outcome.cell, TaskCell) and outcome.cell.factor is not None


def groups(run: RecordSet, passes: Sequence[PassName]) -> list[Group]:
    """Return the settings in which any of ``passes`` was run, largest length last.

    Levels of an ablation are left out: they are other settings on purpose.
    """
    return list(_groups(run, tuple(passes)))


@lru_cache(maxsize=128)  # passes and sets of a report; a group keeps what it costs to judge it
def _groups(run: RecordSet, passes: tuple[PassName, ...]) -> tuple[Group, ...]:
    found: dict[Setting, list[Outcome]] = {}
    shortcuts: dict[Setting, list[Outcome]] = {}
    for outcome in run.outcomes:
        if is_level(outcome):
            continue
        if outcome.pass_name in passes:
            found.setdefault(outcome.setting, []).append(outcome)
        elif outcome.pass_name == "shortcuts":
            shortcuts.setdefault(outcome.setting, []).append(outcome)
    return tuple(
        Group(setting, label, cells_by_method(found[setting]), tuple(shortcuts.get(setting, ())))
        for setting, label in run.settings.items()
        if setting in found
    )


def measured_groups(run: RecordSet, passes: Sequence[PassName]) -> list[Group]:
    """Return those of ``groups`` in which at least one cell gave numbers."""
    return [g for g in groups(run, passes) if any(o.measured.metrics for o in g.outcomes)]


def timed_groups(run: RecordSet, group: Group) -> list[Group]:
    """Return where a group's steps were timed: with its threads first, then with others.

    Times of one profile hold for another's trainings on the same data and machine.
    """
    found = [g for g in groups(run, ("speed",)) if _place(g.setting) == _place(group.setting)]
    return sorted(found, key=lambda g: g.setting.threads != group.setting.threads)


def _place(setting: Setting) -> Setting:
    return replace(setting, threads=0, ways=(), profile="", version="", file="")


def accuracies(outcomes: Iterable[Outcome]) -> dict[int, float]:
    """Return the test accuracy of each run that has one, by seed."""
    return {
        outcome.cell.seed: outcome.measured.metrics["test_accuracy"].value
        for outcome in outcomes
        if "test_accuracy" in outcome.measured.metrics
    }


def is_what_it_says(outcome: Outcome) -> bool:
    """Return whether an accuracy outcome is what its method's name says, or is "not SPION"."""
    transition = outcome.measured.transition
    return not is_spion(outcome.method) or (transition is not None and transition.is_spion)


def source_note(group: Group) -> str:
    """Return in one sentence what data a group ran on, with stand-ins marked."""
    tasks = [outcome.task for outcome in group.outcomes if outcome.task]
    if not tasks:
        return "The data was not recorded: every cell ended before loading it."
    task = tasks[0]
    stand_in = " (a stand-in for the published data)" if task.stand_in else ""
    return (
        f"Data: {task.source} {task.source_version}{stand_in}; {task.n_train} training, "
        f"{task.n_dev} dev and {task.n_test} test sequences of {task.length} tokens."
    )


def chance_note(group: Group) -> str:
    """Return the accuracy of guessing, as a yardstick; empty without data."""
    shares = [outcome.task.majority_share for outcome in group.outcomes if outcome.task]
    return f"Always answering the largest class: {format_percent(max(shares))}." if shares else ""
