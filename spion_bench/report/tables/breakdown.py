"""Where a training step goes, method by method."""

from __future__ import annotations

from dataclasses import replace

from spion_bench.report.entries import METHOD, metric_entry
from spion_bench.report.groups import Group, MethodCells, groups, source_note
from spion_bench.report.load import RecordSet, provenance
from spion_bench.report.parts import Column, Entry, Table, slug
from spion_bench.report.words import format_percent
from spion_bench.suite.metrics import PARTS, part_metric

PART_LABELS = {part: part.replace("_", " ").capitalize() for part in PARTS}


def shares_of(cells: MethodCells) -> dict[str, float]:
    """Return the share of a step that each part takes; empty if it was not measured."""
    found = {part: cells.metric("breakdown", part_metric(part)) for part in PARTS}
    times = {part: metric.value for part, metric in found.items() if metric is not None}
    total = sum(times.values())
    return {part: ms / total for part, ms in times.items()} if total > 0 else {}


def breakdown_tables(run: RecordSet) -> list[Table]:
    """Return, per setting, the milliseconds of each part of a step, and its share."""
    return [_table(group) for group in groups(run, ("breakdown",))]


def _table(group: Group) -> Table:
    def column(part: str) -> Column[MethodCells]:
        return Column(part_metric(part), PART_LABELS[part], lambda cells: _entry(cells, part))

    return Table.of(
        list(group.methods.values()),
        [METHOD, *map(column, PARTS)],
        sources=lambda cells: cells.ok("breakdown"),
        key=slug("breakdown", group.label),
        title=f"{group.label}: where a training step goes",
        caption=(
            f"{source_note(group)} Forward and backward together, by torch's profiler, which "
            "slows a step down: compare shares. Other: dropout, residual sums, the loss, the head, "
            "clipping."
        ),
        provenance=provenance(group.outcomes),
    )


def _entry(cells: MethodCells, part: str) -> Entry:
    metric = cells.metric("breakdown", part_metric(part))
    if metric is None:
        return cells.missing("breakdown", part_metric(part))
    share = format_percent(shares_of(cells)[part])
    return replace(metric_entry(metric, "ms"), note=f"{share} of the step")
