"""Where sets meet: the same data, length and settings, on whatever machine, by whatever commit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from spion_bench.records import KernelCell, PassName
from spion_bench.report.groups import Group, MethodCells, cells_by_method, groups
from spion_bench.report.kernels.points import shape_text
from spion_bench.report.load import Outcome, RecordSet
from spion_bench.report.methods import ordered
from spion_bench.report.sets.read import Sets
from spion_bench.report.setting import Setting, label_settings, precision_of
from spion_bench.report.words import plural

Way = tuple[str, int]
"""The type of device, and the threads."""


@dataclass(frozen=True, eq=False)
class Side:
    """What one set holds of one method in one place.

    Attributes:
        run: The set's records.
        cells: What the method did.
        group: All methods of the place; None for a kernel case.
    """

    run: RecordSet
    cells: MethodCells
    group: Group | None = None


@dataclass(frozen=True, eq=False)
class Row:
    """One method in one place, by set; None where a set does not hold it."""

    label: str
    method: str
    sides: tuple[Side | None, ...]


def rows_of(sets: Sets, pass_name: PassName) -> list[Row]:
    """Return every method in every place where some set has cells of a pass.

    Where sets share a device and threads, these are compared; otherwise each set shows what it ran
    with most threads. Of several runs in one set the last one counts.
    """
    by_set = [_by_place(one.run, pass_name) for one in sets.each]
    chosen: dict[Setting, list[Group | None]] = {}
    for place in dict.fromkeys(place for found in by_set for place in found):
        ways = [found.get(place, {}) for found in by_set]
        shared = set.intersection(*(set(found) for found in ways if found))
        for way in sorted(shared):
            at = replace(place, device=way[0], threads=way[1])
            chosen[at] = [found.get(way) for found in ways]
        if not shared:
            most = [max(found, key=lambda way: way[1], default=None) for found in ways]
            chosen[place] = [
                found[way] if way else None for found, way in zip(ways, most, strict=True)
            ]
    labels = label_settings(chosen)
    return [row for place, label in labels.items() for row in _rows(sets, label, chosen[place])]


def _by_place(run: RecordSet, pass_name: PassName) -> dict[Setting, dict[Way, Group]]:
    found: dict[Setting, dict[Way, Group]] = {}
    for group in sorted(groups(run, (pass_name,)), key=lambda group: _ended(group, pass_name)):
        setting = group.setting
        place = replace(setting, device="", threads=0, profile="", machine="", version="", file="")
        found.setdefault(place, {})[setting.device, setting.threads] = group
    return found


def _ended(group: Group, pass_name: PassName) -> float:
    taken = [o.record.ended_at for o in group.outcomes if o.pass_name == pass_name]
    return max(taken).timestamp()


def _rows(sets: Sets, label: str, found: Sequence[Group | None]) -> Iterable[Row]:
    infos = [cells.info for group in found if group for cells in group.methods.values()]
    for name in ordered(infos):
        sides = tuple(
            Side(one.run, group.methods[name], group) if group and name in group.methods else None
            for one, group in zip(sets.each, found, strict=True)
        )
        yield Row(label, name, sides)


def kernel_rows(sets: Sets) -> list[Row]:
    """Return every implementation in every kernel case, points of sweeps included."""
    by_set = [_by_case(one.run) for one in sets.each]
    rows = []
    for case in dict.fromkeys(case for found in by_set for case in found):
        cells = [found.get(case, {}) for found in by_set]
        for name in ordered(one.info for those in cells for one in those.values()):
            sides = tuple(
                Side(one.run, those[name]) if name in those else None
                for one, those in zip(sets.each, cells, strict=True)
            )
            rows.append(Row(", ".join(case), name, sides))
    return rows


def _by_case(run: RecordSet) -> dict[tuple[str, ...], dict[str, MethodCells]]:
    found: dict[tuple[str, ...], dict[str, Outcome]] = {}
    for outcome in run.outcomes:
        cell = outcome.cell
        if isinstance(cell, KernelCell):
            how = (precision_of(cell), plural(cell.threads, "thread"))
            case = (cell.label, shape_text(cell.shape), cell.pattern or "", *how)
            last = found.setdefault(tuple(filter(None, case)), {})
            before = last.get(cell.method.name)
            if before is None or before.record.ended_at <= outcome.record.ended_at:
                last[cell.method.name] = outcome
    return {case: cells_by_method(list(last.values())) for case, last in found.items()}
