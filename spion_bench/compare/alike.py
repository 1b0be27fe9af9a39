"""What two records of one case were not measured alike in, and what noise alone does to both."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from spion_bench.records import Metric, Record, TaskCell
from spion_bench.records.statistics import Estimate

TIMES = ("ms", "s")
MACHINE = ("machine", "instructions", "gpu")
"""What tells machines apart: CPU model and cores, its instruction set, and the GPU."""

_NOT_SETTINGS = {"key", "profile", "code", "turn", "timeout_s", "method", "data_dir"} | {
    *("gate", "parent", "sweeps", "tasks", "kind")  # where a cell stands, not what it measures
}


def differences(base: Record, head: Record, *, ignored: Collection[str] = ()) -> Iterator[str]:
    """Yield what two records of one case were not measured alike in, marks of their turns too.

    Args:
        base: One record.
        head: The other.
        ignored: Settings that may differ, e.g. ``MACHINE``.
    """
    for record in (base, head):
        turn = record.measurement.turn
        if turn is not None and turn.marks:
            yield f"marked: {', '.join(turn.marks)}"
    ours, theirs = _settings(base), _settings(head)
    for name in sorted((ours.keys() | theirs.keys()) - set(ignored)):
        if ours.get(name) != theirs.get(name):
            yield f"{name}: {ours.get(name)} and {theirs.get(name)}"


def _settings(record: Record) -> dict[str, Any]:
    cell = record.cell.model_dump(mode="json")
    found = {name: value for name, value in cell.items() if name not in _NOT_SETTINGS}
    found["arguments"] = record.cell.method.arguments
    where, task = record.environment, record.measurement.task
    found |= zip(MACHINE, (where.machine, where.cpu_capability, where.gpu), strict=True)
    if task is not None:
        found["data"] = f"{task.source} {task.fingerprint[:12]}"
    if isinstance(record.cell, TaskCell) and record.cell.settings is None:
        found["settings"] = record.measurement.extra  # where schema 1 kept them
    return dict(_flat(found))


def _flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def times(record: Record) -> Iterator[tuple[str, Metric]]:
    """Yield the measured times of a record that have more than one sample."""
    for name, metric in record.measurement.metrics.items():
        if metric.unit in TIMES and len(metric.samples) > 1 and not metric.modelled:
            yield name, metric


def noise(base: Record, head: Record, metric: str) -> Estimate | None:
    """Return the A/A interval that holds those of both runs, or None if one did not take it."""
    turns = [record.measurement.turn for record in (base, head)]
    both = [turn.aa.get(metric) for turn in turns if turn is not None]
    known = [aa for aa in both if aa is not None and aa.low is not None and aa.high is not None]
    if len(known) < 2:
        return None
    lows, highs = [aa.low or 0.0 for aa in known], [aa.high or 0.0 for aa in known]
    widest = max(known, key=lambda aa: abs(aa.value - 1))
    return Estimate(widest.value, min(lows), max(highs), basis="A/A of both runs")
