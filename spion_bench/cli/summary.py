"""The results of a run: one line per record, a table of all, and the exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spion_bench.records import FAILED_STATUSES, Record, TaskCell
from spion_bench.records.ratios import (
    CHAMPION,
    KINDS,
    MEASURES,
    attention_cost,
    compile_of,
    four_ratios,
    speed_turns,
)
from spion_bench.records.statistics import mean_with_interval, median_of
from spion_bench.suite.passes import PASSES

if TYPE_CHECKING:
    from spion_bench.report.evidence.rule import Evidence

NOT_ATTENTION = "not shown to measure attention"
STYLES = {"ok": "green", "unsupported": "cyan", "skipped": "yellow"}


def worth(folder: Path, records: Sequence[Record]) -> dict[str, Evidence]:
    """Return, by key, what the group of each accuracy says about attention.

    Args:
        folder: The run's folder, in which the records and their artifacts lie.
        records: The records that are to be shown; others of the folder belong to their groups.
    """
    if not any(_is_accuracy(record) for record in records):
        return {}
    from spion_bench.report.evidence.of_group import evidence_of
    from spion_bench.report.groups import groups
    from spion_bench.report.load import load_records

    found: dict[str, Evidence] = {}
    for group in groups(load_records(folder), ("accuracy",)):
        evidence = evidence_of(group)
        if evidence is not None:
            found |= {outcome.record.key: evidence for outcome in group.outcomes}
    return found


def _is_accuracy(record: Record) -> bool:
    return record.cell.pass_name == "accuracy" and "test_accuracy" in record.measurement.metrics


def _mark(record: Record, evidence: Evidence | None) -> str:
    """Return what has to stand at an accuracy that may not be compared."""
    if not _is_accuracy(record) or (evidence is not None and evidence.measures_attention):
        return ""
    return f", {NOT_ATTENTION}"


def result(record: Record, evidence: Evidence | None = None) -> str:
    """Return a record's main number with its interval, or its reason.

    An accuracy without ``evidence`` that its group measures attention says so.
    """
    found = record.measurement
    if not record.is_ok:
        return found.reason or ""
    names = PASSES[record.cell.pass_name].headline if record.cell.pass_name in PASSES else ()
    name = next((name for name in names if name in found.metrics), None)
    if name is None:
        return gate_result(record)
    metric = found.metrics[name]
    scale, unit = (1e-6, "MB") if metric.unit == "bytes" else (1.0, metric.unit)
    unit = "test accuracy" if name == "test_accuracy" else unit
    bounds = ""
    if metric.low is not None and metric.high is not None:
        kind = median_of(metric).kind
        named = f" {kind}, n = {len(metric.samples)}" if metric.samples else ""
        bounds = f" [{metric.low * scale:.4g}, {metric.high * scale:.4g}]{named}"
    marked = ", marked" if found.turn is not None and found.turn.marks else ""
    return f"{metric.value * scale:.4g} {unit}{bounds}{marked}{_mark(record, evidence)}"


def gate_result(record: Record) -> str:
    """Say what the gate of a record found, and the loss after two steps if it did any."""
    errors = {error.name: error.error for error in record.measurement.gate}
    found = "not exact; its properties hold"
    if "out" in errors:
        found = f"largest output error {errors['out']:.1e}"
    loss = record.measurement.metrics.get("final_train_loss")
    return found if loss is None else f"{found}; loss of the second step {loss.value:.3g}"


def verdict(record: Record, evidence: Evidence | None = None) -> str:
    """Return a record's status and main number or reason."""
    return f"{record.measurement.status} {result(record, evidence)}".strip()


def summary_data(records: Sequence[Record], found: Mapping[str, Evidence]) -> dict[str, Any]:
    """Return the summary for a program to read: every cell with its numbers, and the totals."""
    cells = []
    for record in records:
        cell, measured = record.cell, record.measurement
        each: dict[str, Any] = {
            "key": record.key,
            "pass": cell.pass_name,
            "label": cell.label,
            "method": cell.method.name,
            "seed": cell.seed,
            "status": measured.status,
            "reason": measured.reason,
            "machine": machine_of(record),
            "metrics": measured.metrics,
            "marks": measured.turn.marks if measured.turn else [],
        }
        if _is_accuracy(record):
            evidence = found.get(record.key)
            each["measures_attention"] = evidence is not None and evidence.measures_attention
        cells.append(each)
    totals = Counter(record.measurement.status for record in records)
    return {"cells": cells, "totals": totals, "ratios": ratio_lines(records)}


def print_summary(
    console: Console, records: Sequence[Record], found: Mapping[str, Evidence]
) -> None:
    """Print one row per cell, where it was measured, and the totals by status.

    ``found`` is what ``worth`` says of the accuracies.
    """
    table = Table(title="Cells of this run", title_justify="left")
    for name in ("pass", "case", "method", "seed", "status"):
        table.add_column(name, no_wrap=True)
    table.add_column("result [interval] or reason", overflow="fold")
    machines = {machine_of(record) for record in records}
    if len(machines) > 1:
        table.add_column("measured on", overflow="fold")
    for record in records:
        cell, status = record.cell, record.measurement.status
        table.add_row(
            cell.pass_name,
            cell.label,
            cell.method.name,
            str(cell.seed),
            f"[{STYLES.get(status, 'red')}]{status}[/]",
            escape(result(record, found.get(record.key))),
            *([escape(machine_of(record))] if len(machines) > 1 else []),
        )
    console.print(table)
    for line in [*mean_accuracies(records, found), *evidence_lines(records, found)]:
        console.print(escape(line), highlight=False)
    if len(machines) == 1:
        console.print(escape(f"Measured on {machines.pop()}"), highlight=False)
    for line in ratio_lines(records):
        console.print(escape(line), highlight=False)
    totals = Counter(record.measurement.status for record in records)
    parts = [f"{count} {status}" for status, count in sorted(totals.items())]
    console.print(f"{len(records)} cells: {', '.join(parts)}", highlight=False)


def machine_of(record: Record) -> str:
    """Return on which machine a cell was measured."""
    environment = record.environment
    return ", ".join(filter(None, (environment.machine, environment.gpu)))


def evidence_lines(records: Sequence[Record], found: Mapping[str, Evidence]) -> list[str]:
    """Return for each case with accuracies what they are worth."""
    shown = {r.cell.label: found[r.key].sentence for r in records if r.key in found}
    return [f"{label}: {sentence}" for label, sentence in shown.items()]


def mean_accuracies(
    records: Sequence[Record], found: Mapping[str, Evidence] = MappingProxyType({})
) -> list[str]:
    """Return one line per case and method that was trained with several seeds."""
    runs: dict[tuple[str, str, str], list[float]] = {}
    for record in records:
        if _is_accuracy(record):
            mark = _mark(record, found.get(record.key))
            key = (record.cell.label, f"{record.cell.method.name}{_level(record)}", mark)
            runs.setdefault(key, []).append(record.measurement.metrics["test_accuracy"].value)
    lines = []
    for (label, method, mark), values in runs.items():
        mean, low, high = mean_with_interval(values)
        if low is not None and high is not None:
            lines.append(
                f"{label} {method}: test accuracy {mean:.4g} [{low:.4g}, {high:.4g}], mean of "
                f"{len(values)} seeds{mark}"
            )
    return lines


def _level(record: Record) -> str:
    """Return in which setting a level of an ablation differs, or ""."""
    cell = record.cell
    if not isinstance(cell, TaskCell) or cell.factor is None:
        return ""
    return f" with {cell.factor.partition('.')[2]} = {cell.level(cell.factor)}"


def ratio_lines(records: Sequence[Record]) -> list[str]:
    """Return the four ratios of every turn, what attention costs, and why a turn is marked."""
    lines = []
    for turn in speed_turns(records):
        label, taken = turn[0].cell.label, turn[0].measurement.turn
        label += "" if compile_of(turn[0]) == "none" else ", compiled"
        if taken is not None and taken.marks:
            lines.append(f"{label}: marked, so no ratios are shown: {'; '.join(taken.marks)}")
            continue
        found = four_ratios(turn, records)
        for measure, what in MEASURES.items():
            parts = [
                f"{KINDS[each.kind]}: {each.ratio.value:.3g} ({each.against})"
                for each in found
                if each.measure == measure
            ]
            if parts:
                lines.append(f"{label}, {what}: {CHAMPION} is times faster than {'; '.join(parts)}")
        cost = attention_cost(turn, CHAMPION)
        if cost is not None:
            lines.append(
                f"{label}: attention of {CHAMPION} costs {100 * (cost.value - 1):.3g} % over no "
                "attention at all"
            )
    return lines


def exit_code(records: Sequence[Record]) -> int:
    """Return 0 if every cell gave numbers or is unsupported, else 1."""
    failed = {*FAILED_STATUSES, "skipped"}
    return int(any(record.measurement.status in failed for record in records))
