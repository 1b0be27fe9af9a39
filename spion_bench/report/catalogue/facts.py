"""What a page shows of a record at each of its numbers, and the table of all records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from spion_bench.records import Metric
from spion_bench.records.statistics import median_of
from spion_bench.report.load import Outcome, RecordSet, provenance
from spion_bench.report.parts import Column, Entry, Table
from spion_bench.report.tables.origins import settings_of
from spion_bench.report.words import format_quantity, plural


def record_table(run: RecordSet, outcomes: Sequence[Outcome]) -> Table:
    """Return a row per record, which a page unfolds to all that the record says."""
    return Table.of(
        outcomes,
        [
            Column.text("cell_key", "Cell", lambda outcome: outcome.record.key),
            Column.text("status", "Status", _status),
            Column.text("setting", "Setting", run.label_of),
            Column.text("method", "Method", lambda outcome: outcome.method.name),
            Column("seed", "Seed", lambda outcome: outcome.cell.seed),
            Column.text("commit", "Commit", _commit),
            Column.text("ended", "Measured (UTC)", _time),
            Column.text("caveats", "Caveats", lambda outcome: "; ".join(outcome.caveats) or "none"),
        ],
        key="records",
        title="Every record",
        caption="Numbers elsewhere lead here. A row unfolds to what its record says.",
        provenance=provenance(outcomes),
        collapsed=True,
        row_keys=tuple(outcome.anchor for outcome in outcomes),
    )


def record_facts(run: RecordSet, outcomes: Sequence[Outcome]) -> str:
    """Return as JSON what a page shows of each record; what many share stands there once.

    ``records`` holds ``[anchor, [[name, text], ...], settings, environment]``; the last two are
    places in ``shared``, lists of ``[name, text]``.
    """
    shared: dict[str, int] = {}
    records = []
    for outcome in outcomes:
        settings = [[name, str(value)] for name, value in settings_of(outcome)]
        places = [_place(shared, part) for part in (settings, _environment(outcome))]
        records.append([outcome.anchor, _facts(run, outcome), *places])
    found = {"records": records, "shared": [json.loads(part) for part in shared]}
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


def _place(shared: dict[str, int], part: list[list[str]]) -> int:
    return shared.setdefault(json.dumps(part, ensure_ascii=False), len(shared))


def _facts(run: RecordSet, outcome: Outcome) -> list[list[str]]:
    measured = outcome.measured
    facts = {
        "Cell": outcome.record.key,
        "What": f"{outcome.pass_name} of {outcome.method.name} on {run.label_of(outcome)}",
        "Status": f"{measured.status}: {measured.reason}" if measured.reason else measured.status,
        "Caveats": "; ".join(outcome.caveats),
        "Commit": _commit(outcome),
        "Measured": f"{_time(outcome)} UTC, from {outcome.record.started_at:%Y-%m-%d %H:%M}",
        "Load": _load(outcome),
        "Rounds": _rounds(outcome),
        **{name: _metric(metric) for name, metric in measured.metrics.items()},
        "Transition": _transition(outcome),
        "Pattern": measured.pattern.source if measured.pattern else "",
        "Records file": outcome.file,
    }
    return [[name, text] for name, text in facts.items() if text]


def _environment(outcome: Outcome) -> list[list[str]]:
    where = outcome.record.environment
    facts: dict[str, Any] = {
        "CPU": f"{where.cpu}, {plural(where.cores, 'core')}, {where.cpu_capability or 'unknown'}",
        "Threads": where.threads,
        "GPU": where.gpu,
        "System": where.os,
        "Python": where.python,
        "PyTorch": where.torch,
        "Compiler": where.compiler,
    }
    return [[name, str(value)] for name, value in facts.items() if value]


def _status(outcome: Outcome) -> Entry:
    flag = outcome.measured.status
    return Entry.of_text(flag, flag="" if outcome.is_ok else "warning")


def _commit(outcome: Outcome) -> str:
    where = outcome.record.environment
    commit = "unknown" if where.git_sha is None else where.git_sha[:10]
    return f"{commit} with changes" if where.git_dirty else commit


def _time(outcome: Outcome) -> str:
    return f"{outcome.record.ended_at:%Y-%m-%d %H:%M}"


def _load(outcome: Outcome) -> str:
    turn, average = outcome.measured.turn, outcome.record.environment.load_average
    before = "" if average is None else f"load average {average:g} at the start"
    if turn is None or turn.load is None:
        return before
    most = max(turn.load.others, default=0.0)
    repeated = plural(len(turn.load.repeated), "round")
    return f"others used at most {most:.2f} of {turn.load.cpus} CPUs; {repeated} taken again"


def _rounds(outcome: Outcome) -> str:
    turn = outcome.measured.turn
    return "" if turn is None else f"{turn.rounds}, with {plural(len(turn.methods), 'method')}"


def _metric(metric: Metric) -> str:
    found = median_of(metric) if len(metric.samples) > 1 else None
    low, high = (found.low, found.high) if found else (metric.low, metric.high)
    text, interval = format_quantity(metric.value, metric.unit, low, high)
    kind = "modelled" if metric.modelled else plural(max(1, len(metric.samples)), "sample")
    return " ".join(part for part in (text, interval, f"({kind})") if part)


def _transition(outcome: Outcome) -> str:
    found = outcome.measured.transition
    return "" if found is None else f"step {found.step}, {found.reason}"
