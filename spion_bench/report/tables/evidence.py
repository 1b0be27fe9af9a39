"""Tables of evidence, by setting: dense attention against what needs none, SPION against others."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Final

from spion_bench.records.statistics import Estimate
from spion_bench.report.entries import accuracy_entry, density_entry
from spion_bench.report.evidence.of_group import evidence_of, may_compare
from spion_bench.report.evidence.worth import Worth, worth_sentence, worths_of
from spion_bench.report.groups import Group, MethodCells, groups
from spion_bench.report.load import Outcome, RecordSet, provenance
from spion_bench.report.methods import is_dense, is_spion
from spion_bench.report.parts import Column, Entry, Table, slug
from spion_bench.report.words import plural

_Row = tuple[str, Estimate]

_WORTH_CAPTION: Final = (
    "All rows continue the same dense prefixes. SPION-CF minus the other, in points of test "
    "accuracy, is the mean over seeds of the differences with its 95 % t interval. Attention kept: "
    "the share of the dense map's attention that lies in the kept blocks, mean over layers."
)


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


def worth_tables(run: RecordSet) -> list[Table]:
    """Return, per setting with replacements, each of them beside the learned pattern."""
    tables = []
    for group in groups(run, ("accuracy",)):
        if any(worth.other.info.role == "isolates" for worth in worths_of(group)):
            tables.append(_worth_table(group))
    return tables


def _worth_table(group: Group) -> Table:
    assert group.champion is not None
    found = {worth.other.method: worth for worth in worths_of(group)}
    rows = [group.champion, *(worth.other for worth in found.values())]
    evidence = evidence_of(group)
    says = [worth_sentence(group), _forced(group.champion), _WORTH_CAPTION]
    if evidence is not None and not may_compare(group):
        says.append(f"{evidence.sentence} So nothing follows from the differences.")
    return Table.of(
        rows,
        [
            Column.text("method", "Method", lambda cells: cells.method),
            Column.text("what", "From the prefix on", _what),
            Column("test_accuracy_ratio", "Test accuracy", accuracy_entry),
            Column("lead_ratio", "SPION-CF minus it", lambda c: _lead(found.get(c.method))),
            Column("density_ratio", "Blocks kept", lambda cells: density_entry(group, cells)),
            Column("attention_kept_ratio", "Attention kept", _attention_kept),
        ],
        sources=lambda cells: cells.ok("accuracy"),
        key=slug("worth", group.label),
        title=f"{group.label}: what the learned pattern is worth",
        caption=" ".join(text for text in says if text),
        provenance=provenance(outcome for cells in rows for outcome in cells.of("accuracy")),
    )


def _forced(champion: MethodCells) -> str:
    """Say how many runs turned sparse because the budget, not the criterion, said so."""
    reasons = [o.measured.transition.reason for o in champion.proven() if o.measured.transition]
    forced = reasons.count("forced")
    return f"{forced} of its {plural(len(reasons), 'run')} were forced to turn sparse."


def _what(cells: MethodCells) -> str:
    return "dense attention goes on" if is_dense(cells.info) else cells.info.summary


def _lead(worth: Worth | None) -> Entry:
    if worth is None:
        return Entry.absent("SPION-CF itself", "itself")
    return Entry.estimate(worth.lead, "points")


def _attention_kept(cells: MethodCells) -> Entry:
    if is_dense(cells.info):
        return Entry.absent("dense method", "all")
    shares = [share for pattern in cells.patterns() for share in pattern.mass_kept]
    if not shares:
        missing = "no map recorded" if is_spion(cells.info) else "the record has no mass_kept"
        return Entry.missing(missing)
    return Entry.number(math.fsum(shares) / len(shares), "ratio")
