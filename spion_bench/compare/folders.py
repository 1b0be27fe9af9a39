"""Two folders of records, compared where they measured the same thing in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from spion_bench.compare.alike import differences, noise, times
from spion_bench.compare.verdict import LEVEL, Compared, judge
from spion_bench.records import Record, TaskCell, latest_by_cell, read_records
from spion_bench.records.names import UsageError
from spion_bench.records.paired import ratio_of_medians

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
            elif found_apart := [*differences(before, after)]:
                apart[full] = "; ".join(found_apart)
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
        if record.measurement.status == "ok" and any(times(record)):
            case = (cell.pass_name, cell.label, cell.method.name, cell.seed)
            found.setdefault(case, {})[_way(record)] = record
    return found


def _way(record: Record) -> Way:
    cell = record.cell
    threads = f"{cell.threads} thread{'s' if cell.threads > 1 else ''}"
    settings = cell.settings if isinstance(cell, TaskCell) else None
    precision = cell.dtype if settings is None else settings.precision
    compiled = "compiled" if settings is not None and settings.compile != "none" else "eager"
    where = record.environment
    return cell.device, threads, precision, compiled, where.machine, where.cpu_capability or ""


def _compare(name: str, base: Record, head: Record) -> Iterator[Compared]:
    theirs = dict(times(head))
    for metric, ours in times(base):
        if metric not in theirs:
            continue
        ratio = ratio_of_medians(theirs[metric], ours, level=LEVEL)
        null = noise(base, head, metric)
        scale = 1e3 if ours.unit == "s" else 1.0
        medians = ours.value * scale, theirs[metric].value * scale
        yield Compared(f"{name}/{metric}", judge(ratio, null), ratio, null, *medians)
