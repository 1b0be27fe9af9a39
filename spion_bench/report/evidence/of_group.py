"""What the accuracies of a group are worth: its controls and shortcuts, read from its outcomes."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final

from spion_bench.records.statistics import Estimate
from spion_bench.report.evidence.rule import Evidence, last_gain, minus_control, minus_shortcut
from spion_bench.report.groups import Group, MethodCells, accuracies
from spion_bench.report.parts import Entry, Flag
from spion_bench.suite.methods import METHODS
from spion_bench.tasks import load_spec, task_names

CONTROLS: Final = tuple(name for name, m in METHODS.items() if m.family == "control")


@lru_cache(maxsize=1024)  # a bootstrap, asked for by every part of a report
def evidence_of(group: Group) -> Evidence | None:
    """Return what a group's controls and shortcuts say; None if nothing was trained in it."""
    if not any(cells.ok("accuracy") for cells in group.methods.values()):
        return None
    differences: dict[str, Estimate] = {}
    missing: list[str] = []
    dense = group.baseline
    trained = _accuracies(dense)
    for name in CONTROLS:
        found = minus_control(trained, _accuracies(group.methods.get(name)))
        if found is None:
            missing.append(name)
        else:
            differences[name] = found
    outcomes = dense.ok("accuracy") if dense else []
    artifacts = [outcome.artifact for outcome in outcomes if outcome.artifact]
    answers = [a.test_correct for a in artifacts if a.test_correct is not None]
    predictors = {o.method.name: o.artifact for o in group.shortcuts if o.is_ok and o.artifact}
    for name in _shortcut_names(group):
        predictor = predictors.get(name)
        correct = None if predictor is None else predictor.test_correct
        against = None if correct is None else minus_shortcut(answers, correct)
        if against is None:
            missing.append(name)
        else:
            differences[name] = against
    return Evidence(differences, tuple(missing), last_gain([a.curve for a in artifacts]))


def may_compare(group: Group) -> bool:
    """Return whether a group's accuracies may be compared, ranked or put into a headline."""
    evidence = evidence_of(group)
    return evidence is not None and evidence.measures_attention


def graded(group: Group, entry: Entry) -> Entry:
    """Return an accuracy, greyed where its group does not measure attention, with its caveats."""
    evidence = evidence_of(group)
    if evidence is None or not isinstance(entry.value, float):
        return entry
    is_worse = entry.flag == "warning"  # it is not even what its method's name says
    found = {
        "does not measure attention": not evidence.measures_attention,
        "not converged": evidence.converged is False,
    }
    caveats = (*entry.caveats, *(caveat for caveat, holds in found.items() if holds))
    flag: Flag = entry.flag if evidence.measures_attention or is_worse else "greyed"
    return replace(entry, flag=flag, caveats=caveats)


def _accuracies(cells: MethodCells | None) -> dict[int, float]:
    return accuracies(cells.ok("accuracy") if cells else ())


def _shortcut_names(group: Group) -> list[str]:
    task = group.setting.task
    return [s.name for s in load_spec(task).shortcuts] if task in task_names() else ["shortcut"]
