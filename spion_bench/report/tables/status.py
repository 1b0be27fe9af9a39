"""The tables a reader checks a run by: gate errors, statuses, failures, every number."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args

import pandas as pd

from spion_bench.records import GateError, PassName, Status
from spion_bench.report.groups import groups
from spion_bench.report.load import Outcome, RecordSet, provenance
from spion_bench.report.parts import Column, Entry, Flag, Table, rows_of_frame
from spion_bench.report.words import format_error, format_quantity

_GATE_ORDER = ("out", "dq", "dk", "dv")
_LONG = 40  # rows of a table that is shown collapsed


def gate_table(run: RecordSet) -> Table | None:
    """Return every error that a gate measured, or None if no gate was run.

    Cells that use a pattern which no gate cell saw run the gate themselves.
    """
    outcomes = [
        outcome
        for group in groups(run, get_args(PassName))
        for outcome in group.outcomes
        if outcome.pass_name == "gate" or outcome.measured.gate
    ]
    if not outcomes:
        return None
    names = {found.name for outcome in outcomes for found in outcome.measured.gate}
    return Table.of(
        outcomes,
        [
            Column.text("setting", "Setting", run.label_of),
            Column.text("pass", "Pass", lambda outcome: outcome.pass_name),
            Column.text("method", "Method", lambda outcome: outcome.method.name),
            Column("seed", "Seed", lambda outcome: outcome.cell.seed),
            Column.text("status", "Gate", _gate_status),
            *(
                Column(f"error_{name}", name, partial(_gate_error, name=name))
                for name in sorted(names, key=_gate_rank)
            ),
        ],
        sources=lambda outcome: [outcome],
        key="gate",
        title="Errors against the oracle",
        caption=(
            "Largest absolute error of the output and of each gradient against a float64 oracle "
            "with the same pattern; below it, the largest error allowed. A method whose gate "
            "fails gets no time and no memory figure."
        ),
        provenance=provenance(outcomes),
        collapsed=len(outcomes) > _LONG,
    )


def _gate_rank(name: str) -> tuple[int, str]:
    return (_GATE_ORDER.index(name) if name in _GATE_ORDER else len(_GATE_ORDER)), name


def _gate_status(outcome: Outcome) -> Entry:
    measured = outcome.measured
    if not outcome.is_ok:
        return Entry.of_text(measured.status, note=measured.reason or "", flag="warning")
    exceeded = [found.name for found in measured.gate if not found.is_within]
    if exceeded:
        return Entry.of_text(
            "failed", note=f"not within the allowed error: {', '.join(exceeded)}", flag="warning"
        )
    return Entry.of_text("passed", flag="good")


def _gate_error(outcome: Outcome, name: str) -> Entry:
    found = next((error for error in outcome.measured.gate if error.name == name), None)
    if found is None:
        return Entry.missing("not recorded" if outcome.is_ok else outcome.measured.status)
    return Entry(
        format_error(found.error),
        note=_allowed(found),
        flag="" if found.is_within else "warning",
        value=found.error,
    )


def _allowed(found: GateError) -> str:
    return "" if found.budget is None else f"allowed\u00a0{format_error(found.budget)}"


def status_table(run: RecordSet) -> Table:
    """Return how many cells of each pass ended in each status, with totals; zeros included."""
    statuses: tuple[Status, ...] = get_args(Status)
    counts = pd.crosstab(run.cells["pass"], run.cells["status"])
    passes = [name for name in get_args(PassName) if name in counts.index]
    counts = counts.reindex(index=passes, columns=list(statuses), fill_value=0)
    counts.loc["all"] = counts.sum()
    return Table.of(
        [(str(name), row) for name, row in counts.iterrows()],
        [
            Column.text("pass", "Pass", lambda item: item[0]),
            Column("total", "Total", lambda item: int(item[1].sum())),
            *(
                Column(
                    status,
                    status.replace("_", " "),
                    partial(_count, status=status),
                )
                for status in statuses
            ),
        ],
        key="statuses",
        title="Cells by status",
        caption="Every cell of the plan that left a record, by its last outcome.",
        provenance=provenance(run.outcomes),
    )


def _count(item: tuple[str, pd.Series[int]], status: Status) -> int:
    return int(item[1][status])


def failure_table(run: RecordSet) -> Table | None:
    """Return every cell that gave no number, with its reason; None if all gave numbers."""
    failed = run.cells[run.cells["status"] != "ok"]
    if failed.empty:
        return None
    return Table.of(
        rows_of_frame(failed.assign(reason=failed["reason"].fillna("no reason recorded"))),
        [
            Column.text("pass", "Pass", lambda row: row["pass"]),
            Column.text("setting", "Setting", lambda row: row["setting"]),
            Column.text("method", "Method", lambda row: row["method"]),
            Column("seed", "Seed", lambda row: int(row["seed"])),
            Column.text(
                "status", "Status", lambda row: Entry.of_text(row["status"], flag="warning")
            ),
            Column.text("reason", "Reason", lambda row: row["reason"]),
            Column.text("cell_key", "Cell", lambda row: row["key"]),
        ],
        key="failures",
        title="Cells without a number",
        caption="Nothing is left out: each of these cells was planned and has no number.",
        provenance=provenance(outcome for outcome in run.outcomes if not outcome.is_ok),
    )


def numbers_table(run: RecordSet) -> Table:
    """Return every metric of every record: what all other tables were computed from."""
    by_place = {(outcome.file, outcome.record.key): outcome for outcome in run.outcomes}
    return Table.of(
        rows_of_frame(run.frame[run.frame["metric"].notna()]),
        [
            Column.text("cell_key", "Cell", lambda row: row["key"]),
            Column.text("status", "Status", _status),
            Column.text("metric", "Metric", lambda row: row["metric"]),
            Column("value", "Value", _value),
            Column.text("unit", "Stored unit", lambda row: row["unit"]),
            Column("samples", "Samples", lambda row: int(row["n_samples"])),
        ],
        sources=lambda row: [by_place[row["file"], row["key"]]],
        key="numbers",
        title="Every number",
        caption="One row per metric and cell, as stored, with its 95 % interval.",
        provenance=provenance(run.outcomes),
        collapsed=True,
    )


def _status(row: dict[str, Any]) -> Entry:
    return Entry.of_text(row["status"], flag="" if row["status"] == "ok" else "warning")


def _value(row: dict[str, Any]) -> Entry:
    low, high = (None if pd.isna(row[end]) else row[end] for end in ("low", "high"))
    shown, interval = format_quantity(row["value"], row["unit"], low, high)
    flag: Flag = "modelled" if row["modelled"] else ""
    return Entry(shown, interval, flag, flag, row["value"], low, high)
