"""The table of evidence: dense attention against what needs no attention, by setting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from spion_bench.records.statistics import Estimate
from spion_bench.report.evidence.of_group import evidence_of
from spion_bench.report.groups import Group, groups
from spion_bench.report.load import Outcome, RecordSet, provenance
from spion_bench.report.parts import Column, Entry, Table, slug

_Row = tuple[str, Estimate]


def evidence_tables(run: RecordSet) -> list[Table]:
    """Return, per setting with trained methods, dense attention minus each control and shortcut."""
    tables = []
    for group in groups(run, ("accuracy",)):
        evidence = evidence_of(group)
        if evidence is None or not evidence.differences:
            continue
        difference: Callable[[_Row], Entry] = lambda row: Entry.estimate(row[1], "points")  # noqa: E731
        table = Table.of(
            evidence.differences.items(),
            [
                Column.text("against", "Dense attention against", lambda row: row[0]),
                Column("difference_ratio", "Difference in test accuracy", difference),
            ],
            sources=partial(_records, group),
            key=slug("evidence", group.label),
            title=f"{group.label}: does it measure attention?",
            caption=evidence.sentence,
            provenance=provenance([*group.outcomes, *group.shortcuts]),
        )
        tables.append(table)
    return tables


def _records(group: Group, row: _Row) -> list[Outcome]:
    """Return what a difference comes from: dense attention and a control or shortcut."""
    against, _ = row
    sides = [cells for cells in (group.baseline, group.methods.get(against)) if cells]
    shortcuts = [outcome for outcome in group.shortcuts if outcome.method.name == against]
    return [*(outcome for cells in sides for outcome in cells.ok("accuracy")), *shortcuts]
