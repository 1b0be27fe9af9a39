"""The tables a reader checks a run by: gate errors, statuses, failures, every number."""

from __future__ import annotations

from collections import Counter
from typing import get_args

from spion_bench.records import PassName, Record, Status
from spion_bench.report.cells import groups, provenance
from spion_bench.report.load import RecordSet, setting_of
from spion_bench.report.quantities import format_error, format_quantity
from spion_bench.report.table import Column, Entry, Flag, Table, missing, words

_GATE_ORDER = ("out", "dq", "dk", "dv")
_BUDGET = "_budget"
_LONG = 40  # rows of a table that is shown collapsed


def gate_table(run: RecordSet) -> Table | None:
    """Return every error that a gate measured, or None if no gate was run.

    Cells that use a pattern which no gate cell saw run the gate themselves.
    """
    outcomes = [
        outcome
        for group in groups(run, get_args(PassName))
        for outcome in group.outcomes
        if outcome.record.pass_name == "gate" or outcome.record.gate_errors
    ]
    if not outcomes:
        return None
    stored = {name for outcome in outcomes for name in outcome.record.gate_errors}
    names = sorted((n for n in stored if not n.endswith(_BUDGET)), key=_gate_rank)
    columns = [
        Column("setting", "Setting", numeric=False),
        Column("pass", "Pass", numeric=False),
        Column("method", "Method", numeric=False),
        Column("seed", "Seed"),
        Column("status", "Gate", numeric=False),
        *(Column(f"error_{name}", name) for name in names),
    ]
    rows = []
    for outcome in outcomes:
        record = outcome.record
        rows.append(
            (
                words(run.settings[setting_of(outcome)]),
                words(record.pass_name),
                words(record.method.name),
                Entry(str(record.seed), value=record.seed),
                _gate_status(record),
                *(_gate_error(record, name) for name in names),
            )
        )
    return Table(
        key="gate",
        title="Errors against the oracle",
        caption=(
            "Largest absolute error of the output and of each gradient against a float64 oracle "
            "with the same pattern; below it, the largest error allowed. A method whose gate "
            "fails gets no time and no memory figure."
        ),
        columns=tuple(columns),
        rows=tuple(rows),
        provenance=provenance(outcomes),
        collapsed=len(rows) > _LONG,
    )


def _gate_rank(name: str) -> tuple[int, str]:
    return (_GATE_ORDER.index(name) if name in _GATE_ORDER else len(_GATE_ORDER)), name


def _gate_status(record: Record) -> Entry:
    if record.status == "ok":
        return words("passed", flag="good")
    return words(record.status, note=record.reason or "", flag="warning")


def _gate_error(record: Record, name: str) -> Entry:
    error = record.gate_errors.get(name)
    if error is None:
        return missing("not recorded" if record.status == "ok" else record.status)
    budget = record.gate_errors.get(name + _BUDGET)
    note = "" if budget is None else f"allowed\u00a0{format_error(budget)}"
    is_over = budget is not None and not error <= budget
    return Entry(format_error(error), note=note, flag="warning" if is_over else "", value=error)


def status_table(run: RecordSet) -> Table:
    """Return how many cells of each pass ended in each status, with totals; zeros included."""
    counts = Counter((o.record.pass_name, o.record.status) for o in run.outcomes)
    passes: list[PassName] = [p for p in get_args(PassName) if any(key[0] == p for key in counts)]
    statuses: tuple[Status, ...] = get_args(Status)
    rows = [_status_row(name, [counts[name, status] for status in statuses]) for name in passes]
    totals = [sum(counts[name, status] for name in passes) for status in statuses]
    return Table(
        key="statuses",
        title="Cells by status",
        caption="Every cell of the plan that left a record, by its last outcome.",
        columns=(
            Column("pass", "Pass", numeric=False),
            Column("total", "Total"),
            *(Column(status, status.replace("_", " ")) for status in statuses),
        ),
        rows=(*rows, _status_row("all", totals)),
        provenance=provenance(run.outcomes),
    )


def _status_row(name: str, counts: list[int]) -> tuple[Entry, ...]:
    flags = [Entry(str(count), value=count) for count in counts]
    return (words(name), Entry(str(sum(counts)), value=sum(counts)), *flags)


def failure_table(run: RecordSet) -> Table | None:
    """Return every cell that gave no number, with its reason; None if all gave numbers."""
    failed = [outcome for outcome in run.outcomes if outcome.record.status != "ok"]
    if not failed:
        return None
    return Table(
        key="failures",
        title="Cells without a number",
        caption="Nothing is left out: each of these cells was planned and has no number.",
        columns=(
            Column("pass", "Pass", numeric=False),
            Column("setting", "Setting", numeric=False),
            Column("method", "Method", numeric=False),
            Column("seed", "Seed"),
            Column("status", "Status", numeric=False),
            Column("reason", "Reason", numeric=False),
            Column("cell_key", "Cell", numeric=False),
        ),
        rows=tuple(
            (
                words(outcome.record.pass_name),
                words(run.settings[setting_of(outcome)]),
                words(outcome.record.method.name),
                Entry(str(outcome.record.seed), value=outcome.record.seed),
                words(outcome.record.status, flag="warning"),
                words(outcome.record.reason or "no reason recorded"),
                words(outcome.record.cell_key),
            )
            for outcome in failed
        ),
        provenance=provenance(failed),
    )


def numbers_table(run: RecordSet) -> Table:
    """Return every metric of every record: what all other tables were computed from."""
    rows = []
    for outcome in run.outcomes:
        record = outcome.record
        for name, metric in record.metrics.items():
            text, interval = format_quantity(metric.value, metric.unit, metric.low, metric.high)
            flag: Flag = "modelled" if metric.modelled else ""
            shown = Entry(text, interval, flag, flag, metric.value, metric.low, metric.high)
            rows.append(
                (
                    words(record.cell_key),
                    words(record.status, flag="" if record.status == "ok" else "warning"),
                    words(name),
                    shown,
                    words(metric.unit),
                    Entry(str(len(metric.samples) or 1), value=len(metric.samples) or 1),
                )
            )
    return Table(
        key="numbers",
        title="Every number",
        caption="One row per metric and cell, as stored, with its 95 % interval.",
        columns=(
            Column("cell_key", "Cell", numeric=False),
            Column("status", "Status", numeric=False),
            Column("metric", "Metric", numeric=False),
            Column("value", "Value"),
            Column("unit", "Stored unit", numeric=False),
            Column("samples", "Samples"),
        ),
        rows=tuple(rows),
        provenance=provenance(run.outcomes),
        collapsed=True,
    )
