"""Reads folders of records as sets: each set is what one folder holds of one machine.

Machines are told apart by CPU model, cores and instruction set, and by the GPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from spion_bench.report.load import Outcome, RecordSet, load_records

MOST_FOLDERS: Final = 3

Machine = tuple[str, str, str]
"""CPU model and cores, instruction set, GPU; "" is unknown or none."""


@dataclass(frozen=True, eq=False)
class ComparedSet:
    """The records of one machine in one folder.

    Attributes:
        name: What tables call it: the folder's letter, numbered if it holds several machines.
        source: The folder.
        machine: Where its records were measured.
        run: The records; their files begin with the name, their anchors hold it.
    """

    name: str
    source: str
    machine: Machine
    run: RecordSet

    @property
    def machine_text(self) -> str:
        """The machine in words."""
        return ", ".join(part for part in self.machine if part)


@dataclass(frozen=True, eq=False)
class Sets:
    """All sets; the first one is what the others are compared with.

    ``together`` holds the records of all, apart by their files; no number is made from several.
    """

    each: tuple[ComparedSet, ...]
    together: RecordSet

    @property
    def first(self) -> ComparedSet:
        """What the others are compared with."""
        return self.each[0]

    @property
    def others(self) -> tuple[ComparedSet, ...]:
        """The others."""
        return self.each[1:]


def load_sets(folders: Sequence[Path]) -> Sets:
    """Read two or three folders of records.

    Raises:
        FileNotFoundError: If a folder does not exist.
        ValueError: If a folder holds no valid record, is given twice or holds another one.
    """
    resolved = [folder.resolve() for folder in folders]
    if not 2 <= len(folders) <= MOST_FOLDERS:
        raise ValueError(
            f"folders: expected 2 or {MOST_FOLDERS} folders to compare, got {len(folders)}"
        )
    for place, folder in enumerate(resolved):
        for other in resolved[:place]:
            if folder.is_relative_to(other) or other.is_relative_to(folder):
                raise ValueError(
                    f"folders: expected folders that hold different records, got {other} and "
                    f"{folder}; name each folder once"
                )
    found = [
        one
        for letter, folder in zip("ABC", folders, strict=False)
        for one in _sets_of(letter, load_records(folder))
    ]
    together = RecordSet(
        source=", ".join(dict.fromkeys(one.source for one in found)),
        outcomes=tuple(outcome for one in found for outcome in one.run.outcomes),
        files={name: count for one in found for name, count in one.run.files.items()},
        problems=tuple(f"{one.name}: {text}" for one in found for text in one.run.problems),
    )
    return Sets(tuple(found), together)


def _sets_of(letter: str, run: RecordSet) -> list[ComparedSet]:
    by_machine: dict[Machine, list[Outcome]] = {}
    for outcome, machine in zip(run.outcomes, _machines(run.outcomes), strict=True):
        by_machine.setdefault(machine, []).append(outcome)
    found = []
    for place, (machine, outcomes) in enumerate(by_machine.items()):
        name = letter if len(by_machine) == 1 else f"{letter}{place + 1}"
        named = tuple(_named(outcome, name) for outcome in outcomes)
        files = Counter(outcome.file for outcome in named)
        if place == 0:  # earlier outcomes of cells count once
            files[named[0].file] += run.n_replaced
        problems = run.problems if place == 0 else ()
        part = RecordSet(run.source, named, dict(files), problems)
        found.append(ComparedSet(name, run.source, machine, part))
    return found


def _named(outcome: Outcome, name: str) -> Outcome:
    anchor = outcome.anchor.replace("cell-", f"cell-{name.lower()}-", 1)
    return replace(outcome, file=f"{name}: {outcome.file}", anchor=anchor)


def _machines(outcomes: Sequence[Outcome]) -> list[Machine]:
    """Return where each was measured; a CPU cell is of the machine whose only GPU others name."""
    where = [outcome.record.environment for outcome in outcomes]
    hosts = [(one.machine, one.cpu_capability or "") for one in where]
    gpus: dict[tuple[str, str], set[str]] = {}
    for host, one in zip(hosts, where, strict=True):
        gpus.setdefault(host, set()).update([one.gpu] if one.gpu else [])
    return [
        (*host, one.gpu or (next(iter(gpus[host])) if len(gpus[host]) == 1 else ""))
        for host, one in zip(hosts, where, strict=True)
    ]
