"""Groups the outcomes of a run: by setting, then by method, then by pass."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from spion_bench.records import Metric, PassName, PatternInfo, TransitionInfo
from spion_bench.report.load import BASELINE, Outcome, RecordSet, Setting, setting_of
from spion_bench.report.quantities import format_percent, plural
from spion_bench.report.table import Entry, missing

METHOD_ORDER = (BASELINE, "dense_eager", "spion_c", "spion_f", "spion_cf")
"""Known methods in the order of every table and legend."""

PATTERN_PASSES: tuple[PassName, ...] = ("accuracy", "speed", "memory", "gate")
"""Where to look for a method's pattern: first where it was made, then where it was used."""


@dataclass(frozen=True)
class MethodCells:
    """Everything one method did in one setting."""

    method: str
    outcomes: tuple[Outcome, ...]

    def of(self, pass_name: PassName) -> list[Outcome]:
        """Return the outcomes of one pass, whatever their status, by seed."""
        found = [o for o in self.outcomes if o.record.pass_name == pass_name]
        return sorted(found, key=lambda outcome: outcome.record.seed)

    def ok(self, pass_name: PassName) -> list[Outcome]:
        """Return the outcomes of one pass that carry numbers."""
        return [outcome for outcome in self.of(pass_name) if outcome.record.status == "ok"]

    def proven(self) -> list[Outcome]:
        """Return the accuracy outcomes that show what the method's name says.

        A SPION run that stayed dense for too long is left out: it must never pass as SPION.
        """
        return [outcome for outcome in self.ok("accuracy") if is_what_it_says(outcome)]

    def metric(self, pass_name: PassName, name: str) -> Metric | None:
        """Return one metric; if several cells (seeds) have it, their samples are pooled."""
        metrics = [o.record.metrics[name] for o in self.ok(pass_name) if name in o.record.metrics]
        if len(metrics) <= 1:
            return metrics[0] if metrics else None
        samples = [sample for metric in metrics for sample in (metric.samples or [metric.value])]
        return metrics[0].model_copy(
            update={
                "samples": samples,
                "value": statistics.median(samples),
                "low": None,
                "high": None,
            }
        )

    def why_missing(self, pass_name: PassName, name: str) -> str:
        """Say in a few words why a metric of a pass is not there."""
        failed = [o.record for o in self.of(pass_name) if o.record.status != "ok"]
        if failed:
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            return f"{failed[0].status}: {failed[0].reason or 'no reason recorded'}{more}"
        if self.ok(pass_name):
            return f"the record has no {name}"
        return no_cell(pass_name)

    def patterns(self) -> list[PatternInfo]:
        """Return the patterns of the first pass that has any."""
        for pass_name in PATTERN_PASSES:
            found = [o.record.pattern for o in self.ok(pass_name) if o.record.pattern]
            if found:
                return found
        return []


@dataclass(frozen=True)
class Group:
    """One setting with all its methods; numbers within a group may be compared."""

    setting: Setting
    label: str
    methods: dict[str, MethodCells] = field(default_factory=dict)

    @property
    def outcomes(self) -> list[Outcome]:
        """All outcomes of the group, method by method."""
        return [outcome for cells in self.methods.values() for outcome in cells.outcomes]

    @property
    def baseline(self) -> MethodCells | None:
        """The method that ratios are taken over, if it was run in this setting."""
        return self.methods.get(BASELINE)


def groups(run: RecordSet, passes: Sequence[PassName]) -> list[Group]:
    """Return the settings in which any of ``passes`` was run, largest length last."""
    found: dict[Setting, dict[str, list[Outcome]]] = {}
    for outcome in run.outcomes:
        if outcome.record.pass_name in passes:
            methods = found.setdefault(setting_of(outcome), {})
            methods.setdefault(outcome.record.method.name, []).append(outcome)
    return [
        Group(
            setting,
            label,
            {
                name: MethodCells(name, tuple(found[setting][name]))
                for name in sorted(found[setting], key=method_rank)
            },
        )
        for setting, label in run.settings.items()
        if setting in found
    ]


def method_rank(name: str) -> tuple[int, str]:
    """Sort methods: the baseline, dense, SPION's variants, then all others by name."""
    known = METHOD_ORDER.index(name) if name in METHOD_ORDER else len(METHOD_ORDER)
    return known, name


def is_spion_method(name: str) -> bool:
    """Whether a method's name claims SPION; ``spion+...`` is its kernel on another pattern."""
    return name.startswith("spion_")


def is_dense_method(name: str) -> bool:
    """Whether a method computes every score."""
    return name.startswith("dense_") or name == "xformers_fmha"


def is_what_it_says(outcome: Outcome) -> bool:
    """Whether an accuracy outcome is what its method's name says; False is "not SPION"."""
    transition: TransitionInfo | None = outcome.record.transition
    if not is_spion_method(outcome.record.method.name):
        return True
    return transition is not None and transition.is_spion


def no_cell(pass_name: PassName) -> str:
    """Return the reason of a number that nobody tried to measure."""
    return f"no {pass_name} cell in this run"


def no_number(method: str) -> str:
    """Return the reason of a ratio whose other side is missing."""
    return f"no number of {method} in this run"


def is_untried(entry: Entry) -> bool:
    """Whether an entry is empty only because nobody tried, or because it cannot exist."""
    return entry.flag == "absent" or (entry.flag == "missing" and entry.note.startswith("no "))


def missing_metric(cells: MethodCells, pass_name: PassName, name: str) -> Entry:
    """Return the entry of a metric that is not there, with its reason."""
    return missing(cells.why_missing(pass_name, name))


def provenance(outcomes: Iterable[Outcome]) -> str:
    """Say which records something was made from: how many, which passes, which file."""
    found = list(outcomes)
    passes = Counter(outcome.record.pass_name for outcome in found)
    parts = ", ".join(f"{name} {count}" for name, count in passes.items())
    files = ", ".join(sorted({outcome.file for outcome in found}))
    return f"From {plural(len(found), 'record')} ({parts}) in {files}."


def source_note(group: Group) -> str:
    """Say in one sentence what data a group ran on, and mark stand-ins."""
    tasks = [outcome.task for outcome in group.outcomes if outcome.task]
    if not tasks:
        return "Data not recorded: no cell got far enough to know it."
    task = tasks[0]
    stand_in = " (a stand-in for the published data)" if task.stand_in else ""
    return (
        f"Data: {task.source} {task.source_version}{stand_in}; {task.n_train} training, "
        f"{task.n_dev} dev and {task.n_test} test sequences of {task.length} tokens."
    )


def chance_note(group: Group) -> str:
    """Say what guessing gives, for readers to hold accuracies against; empty without data."""
    shares = [outcome.task.majority_share for outcome in group.outcomes if outcome.task]
    return f"Always answering the largest class: {format_percent(max(shares))}." if shares else ""
