"""The matrix: every method on every task, whether it runs there and computes what it says."""

from __future__ import annotations

from spion_bench.records import Record
from spion_bench.report.cells import method_rank, provenance
from spion_bench.report.load import RecordSet, setting_of
from spion_bench.report.table import Column, Entry, Table, absent, words


def matrix_table(run: RecordSet) -> Table | None:
    """Return a row per method and a column per task, or None without cells of the steps pass."""
    outcomes = [outcome for outcome in run.outcomes if outcome.record.pass_name == "steps"]
    if not outcomes:
        return None
    cells: dict[tuple[str, str], list[Record]] = {}
    for outcome in outcomes:
        place = (outcome.record.method.name, run.settings[setting_of(outcome)])
        cells.setdefault(place, []).append(outcome.record)
    labels = [label for label in run.settings.values() if any(place[1] == label for place in cells)]
    methods = sorted({place[0] for place in cells}, key=method_rank)
    return Table(
        key="matrix",
        title="Every method on every task",
        caption=(
            "ok: the gate passed and two training steps gave finite losses. Below it, the largest "
            "share of an allowed error that the gate saw. Nothing here is timed."
        ),
        columns=(
            Column("method", "Method", numeric=False),
            *(Column(label, label, numeric=False) for label in labels),
        ),
        rows=tuple(
            (words(method), *(_entry(cells.get((method, label))) for label in labels))
            for method in methods
        ),
        provenance=provenance(outcomes),
    )


def _entry(records: list[Record] | None) -> Entry:
    """Return the entry of one method on one task, of all settings that it was tried with."""
    if not records:
        return absent("not planned")
    failed = [record for record in records if record.status != "ok"]
    if failed:
        reasons = [record.reason or "no reason recorded" for record in failed]
        return words(failed[0].status, note="; ".join(dict.fromkeys(reasons)), flag="warning")
    shares = [share for record in records for share in _shares(record.gate_errors)]
    note = f"{max(shares):.0%} of the allowed error" if shares else "gate passed"
    return words("ok", note=note, flag="good")


def _shares(errors: dict[str, float]) -> list[float]:
    """Return each error as a share of what is allowed."""
    return [
        error / errors[f"{name}_budget"]
        for name, error in errors.items()
        if errors.get(f"{name}_budget")
    ]
