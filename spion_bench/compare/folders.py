"""Two folders of records, compared where they measured the same thing in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from spion_bench.compare.verdict import LEVEL, Compared, judge
from spion_bench.records import Metric, Record, TaskCell, latest_by_cell, read_records
from spion_bench.records.names import UsageError
from spion_bench.records.paired import ratio_of_medians
from spion_bench.records.statistics import Estimate

TIMES = ("ms", "s")
NOT_SETTINGS = {"key", "profile", "code", "turn", "timeout_s", "method", "data_dir"} | {
    *("gate", "parent", "sweeps", "tasks", "kind")  # where a cell stands, not what it measures
}

Case = tuple[str, str, str, int]
Way = tuple[str, ...]
"""How a case was measured, where one folder has it in several ways."""


def _read(folder: Path) -> tuple[list[Record], list[str]]:
    """Return the records of a folder, and one sentence for each line that is none.

    Raises:
        UsageError: If it has no records.
        OSError: If a file, or a folder below it, cannot be read.
    """
    records, problems = read_records(folder)
    if not records:
        damaged = f" but {len(problems)} damaged lines ({problems[0]})" if problems else ""
        raise UsageError(f"{folder}: expected a folder of records, found none below it{damaged}")
    return records, problems


def compare_folders(base: Path, head: Path) -> tuple[list[Compared], dict[str, str], list[str]]:
    """Compare the times of two folders of records.

    The runs took no turns, so ratios are not paired. What noise does is the larger A/A of the two.

    Returns:
        The cases that both measured alike; for each other one why it is not compared; and one
        sentence for each line that is not a record.

    Raises:
        UsageError: If a folder has no records.
        OSError: If a file, or a folder below one, cannot be read.
    """
    (before_records, problems), (after_records, others) = _read(base), _read(head)
    ours, theirs = _by_case(before_records), _by_case(after_records)
    found: list[Compared] = []
    apart: dict[str, str] = {}
    for case in sorted(ours.keys() | theirs.keys()):
        name = "/".join(map(str, case[:3])) + f"/seed{case[3]}"
        for way, before, after in _pairs(ours.get(case, {}), theirs.get(case, {})):
            full = "/".join([name, *way])
            if before is None or after is None:
                apart[full] = f"only in {head if before is None else base}"
            elif differences := [*_differences(before, after)]:
                apart[full] = "; ".join(differences)
            else:
                found += _compare(full, before, after)
    return found, apart, [*problems, *others]


def _pairs(
    ours: dict[Way, Record], theirs: dict[Way, Record]
) -> Iterator[tuple[Way, Record | None, Record | None]]:
    """Yield what is to be compared; a way names what tells it from others of its folder."""
    if len(ours) == len(theirs) == 1:
        yield (), next(iter(ours.values())), next(iter(theirs.values()))
        return
    ways = sorted(ours.keys() | theirs.keys())
    differs = [len(set(column)) > 1 for column in zip(*ways, strict=True)]
    for way in ways:
        shown = tuple(part for part, is_shown in zip(way, differs, strict=True) if is_shown)
        yield shown, ours.get(way), theirs.get(way)


def _by_case(records: Iterable[Record]) -> dict[Case, dict[Way, Record]]:
    found: dict[Case, dict[Way, Record]] = {}
    for record in latest_by_cell(records).values():
        cell = record.cell
        if record.measurement.status == "ok" and any(_times(record)):
            case = (cell.pass_name, cell.label, cell.method.name, cell.seed)
            found.setdefault(case, {})[_way(record)] = record
    return found


def _way(record: Record) -> Way:
    cell = record.cell
    threads = f"{cell.threads} thread{'s' if cell.threads > 1 else ''}"
    settings = cell.settings if isinstance(cell, TaskCell) else None
    precision = cell.dtype if settings is None else settings.precision
    compiled = "compiled" if settings is not None and settings.compile != "none" else "eager"
    return cell.device, threads, precision, compiled, record.environment.machine


def _times(record: Record) -> Iterator[tuple[str, Metric]]:
    for name, metric in record.measurement.metrics.items():
        if metric.unit in TIMES and len(metric.samples) > 1 and not metric.modelled:
            yield name, metric


def _differences(base: Record, head: Record) -> Iterator[str]:
    """Yield what two records of one case were not measured alike in."""
    for record in (base, head):
        turn = record.measurement.turn
        if turn is not None and turn.marks:
            yield f"marked: {', '.join(turn.marks)}"
    ours, theirs = _settings(base), _settings(head)
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            yield f"{name}: {ours.get(name)} and {theirs.get(name)}"


def _settings(record: Record) -> dict[str, Any]:
    cell = record.cell.model_dump(mode="json")
    found = {name: value for name, value in cell.items() if name not in NOT_SETTINGS}
    found["arguments"] = record.cell.method.arguments
    found["machine"] = record.environment.machine
    return dict(_flat(found))


def _flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _compare(name: str, base: Record, head: Record) -> Iterator[Compared]:
    theirs = dict(_times(head))
    for metric, ours in _times(base):
        if metric not in theirs:
            continue
        ratio = ratio_of_medians(theirs[metric], ours, level=LEVEL)
        null = _noise(base, head, metric)
        scale = 1e3 if ours.unit == "s" else 1.0
        times = ours.value * scale, theirs[metric].value * scale
        yield Compared(f"{name}/{metric}", judge(ratio, null), ratio, null, *times)


def _noise(base: Record, head: Record, metric: str) -> Estimate | None:
    """Return the A/A interval that holds those of both runs, or None if one did not take it."""
    turns = [record.measurement.turn for record in (base, head)]
    both = [turn.aa.get(metric) for turn in turns if turn is not None]
    known = [aa for aa in both if aa is not None and aa.low is not None and aa.high is not None]
    if len(known) < 2:
        return None
    lows, highs = [aa.low or 0.0 for aa in known], [aa.high or 0.0 for aa in known]
    widest = max(known, key=lambda aa: abs(aa.value - 1))
    return Estimate(widest.value, min(lows), max(highs), basis="A/A of both runs")
