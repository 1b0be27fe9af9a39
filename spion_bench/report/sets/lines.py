"""Everything that is compared: each number of each method in each place, by set."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from spion_bench.records.statistics import Estimate
from spion_bench.report.parts import Entry
from spion_bench.report.sets.compared import Compared, Difference
from spion_bench.report.sets.numbers import KERNEL_NUMBERS, TASK_NUMBERS
from spion_bench.report.sets.places import Row, kernel_rows, rows_of
from spion_bench.report.sets.read import Sets
from spion_bench.report.sets.ways import adjusted


@dataclass(frozen=True, eq=False)
class Line:
    """One number of one method in one place, by set, with its differences from the first set.

    Attributes:
        number: What is compared.
        row: The method and the place.
        entries: The number of each set.
        differences: For every other set; None where one of the two has no number.
    """

    number: Compared
    row: Row
    entries: tuple[Entry, ...]
    differences: tuple[Difference | None, ...]

    @property
    def reach(self) -> float:
        """How far the clearest difference is from none; 0 if none is clear."""
        found = [one.estimate for one in self.differences if one is not None and one.is_clear]
        return max((_distance(self.number, one) for one in found if one is not None), default=0.0)


def _distance(number: Compared, estimate: Estimate) -> float:
    value = estimate.value
    if number.unit == "points":
        return abs(value)
    return abs(math.log(value)) if 0 < value < math.inf else math.inf


def lines_of(sets: Sets) -> dict[Compared, list[Line]]:
    """Return everything that is compared; numbers that no set has are left out."""
    found: dict[Compared, list[Line]] = {}
    for number in TASK_NUMBERS:
        found[number] = [_line(number, row) for row in rows_of(sets, number.pass_name)]
    kernels = kernel_rows(sets)
    for number in KERNEL_NUMBERS:
        found[number] = [_line(number, row) for row in kernels]
    with_numbers = {
        number: [line for line in lines if any(is_number(entry) for entry in line.entries)]
        for number, lines in found.items()
    }
    return _judged_together({number: lines for number, lines in with_numbers.items() if lines})


def _judged_together(found: dict[Compared, list[Line]]) -> dict[Compared, list[Line]]:
    """Return the lines with verdicts that count over how many numbers were judged."""
    lines = [line for those in found.values() for line in those]
    by_set = zip(*(line.differences for line in lines), strict=True)
    again = zip(*(adjusted(differences) for differences in by_set), strict=True)
    judged = (replace(line, differences=own) for line, own in zip(lines, again, strict=True))
    return {number: [next(judged) for _ in those] for number, those in found.items()}


def _line(number: Compared, row: Row) -> Line:
    entries = [
        number.entry(side) if side else Entry.missing("no such cell in this set")
        for side in row.sides
    ]
    known = [side if is_number(e) else None for side, e in zip(row.sides, entries, strict=True)]
    base, *heads = known
    found = (number.difference(base, head) if base and head else None for head in heads)
    return Line(number, row, tuple(entries), tuple(found))


def is_number(entry: Entry) -> bool:
    """Return whether an entry holds a number that was measured."""
    return isinstance(entry.value, int | float)
