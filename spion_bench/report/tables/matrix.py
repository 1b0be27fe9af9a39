"""The matrix: every method on every task, whether it runs there and computes what it says."""

from __future__ import annotations

import math
from functools import partial

from spion_bench.records import GateError
from spion_bench.report.groups import cells_by_method
from spion_bench.report.load import Outcome, RecordSet, provenance
from spion_bench.report.parts import Column, Entry, Table

_Places = dict[tuple[str, str], list[Outcome]]


def matrix_table(run: RecordSet) -> Table | None:
    """Return a row per method and a column per task, or None without cells of the steps pass."""
    outcomes = [outcome for outcome in run.outcomes if outcome.pass_name == "steps"]
    if not outcomes:
        return None
    places: _Places = {}
    for outcome in outcomes:
        places.setdefault((outcome.method.name, run.label_of(outcome)), []).append(outcome)
    labels = [label for label in run.settings.values() if any(p[1] == label for p in places)]
    return Table.of(
        cells_by_method(outcomes),
        [
            Column.text("method", "Method", lambda method: method),
            *(Column.text(label, label, partial(_place_entry, places, label)) for label in labels),
        ],
        key="matrix",
        title="Every method on every task",
        caption=(
            "ok: the gate passed and two training steps gave finite losses. Below it, the largest "
            "share of an allowed error that the gate found. Nothing here is timed."
        ),
        provenance=provenance(outcomes),
    )


def _place_entry(places: _Places, label: str, method: str) -> Entry:
    """Return the entry of one method on one task, of all settings that it was tried with."""
    outcomes = places.get((method, label))
    if not outcomes:
        return Entry.absent("not planned")
    failed = [outcome.measured for outcome in outcomes if not outcome.is_ok]
    if failed:
        reasons = [measured.reason or "no reason recorded" for measured in failed]
        return Entry.of_text(
            failed[0].status, note="; ".join(dict.fromkeys(reasons)), flag="warning"
        )
    shares = [share for outcome in outcomes for share in _shares(outcome.measured.gate)]
    if any(math.isnan(share) for share in shares):
        return Entry.of_text("ok", note="an error of the gate is NaN", flag="warning")
    note = f"{max(shares):.0%} of the allowed error" if shares else "gate passed"
    return Entry.of_text("ok", note=note, flag="good")


def _shares(gate: list[GateError]) -> list[float]:
    """Return each error as a share of what is allowed."""
    return [found.error / found.budget for found in gate if found.budget]
