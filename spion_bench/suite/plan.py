"""From a profile to an ordered list of cells, without running anything.

A cell's key is a readable prefix and a hash of everything that can change its numbers, the source
text of the suite included: after an edit, or with another torch, a cell is measured again.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from spion_bench.records import Record
from spion_bench.records.names import check_name
from spion_bench.suite.cases import CASES, find_case
from spion_bench.suite.methods import METHODS
from spion_bench.suite.profile import (
    PASSES,
    CellGroup,
    Frozen,
    MeasureSettings,
    Profile,
    RunnablePass,
    Value,
)
from spion_bench.suite.settings import task_length
from spion_bench.tasks import task_names

PACKAGE_ROOT = Path(__file__).resolve().parent.parent

# What is shown, stored or listed cannot change a number.
UNHASHED = ("report", "asv_suite", "profiles", "cli.py", "doctor.py")

INTERLEAVED: frozenset[RunnablePass] = frozenset({"speed", "kernel"})

# These check themselves, before they measure or run.
SELF_CHECKING: frozenset[RunnablePass] = frozenset({"gate", "steps", "kernel"})


class Cell(Frozen):
    """One line of the plan: what one child process measures.

    Attributes:
        key: Readable prefix and hash; names the cell's record and files.
        pass_name: Which pass.
        profile: Name of the profile.
        label: Task and length, or kernel case.
        method: Method, or subject of a kernel case.
        seed: Seed of everything random.
        device: ``"cpu"`` or ``"cuda"``.
        threads: CPU threads of the child process.
        task, options, case, model, train, spion, recipe, measure, timeout_s: See ``CellGroup``.
        data_dir: Folder with downloaded data sets, or None.
        code: Hash of the suite's source text.
        turn: Cells of an interleaved pass with the same turn are measured together.
    """

    key: str
    pass_name: RunnablePass
    profile: str
    label: str
    method: str
    seed: int
    device: str
    threads: int
    task: str | None
    options: dict[str, Value]
    case: str | None
    model: dict[str, Value]
    train: dict[str, Value]
    spion: dict[str, Value]
    recipe: Literal["published", "corrected"]
    measure: MeasureSettings
    timeout_s: float
    data_dir: str | None
    code: str
    turn: str

    @property
    def measures_memory(self) -> bool:
        """Whether the worker must start with a malloc that hands memory back at once."""
        if self.case is not None:
            return find_case(self.case).measures == "memory"
        return self.pass_name == "memory"


@dataclass(frozen=True)
class Machine:
    """What the user chose for a whole run.

    Attributes:
        device: ``"cpu"`` or ``"cuda"``.
        threads: CPU threads of every child process.
        data_dir: Folder with downloaded data sets, or None.
    """

    device: str
    threads: int
    data_dir: Path | None = None


@dataclass(frozen=True)
class Filters:
    """Which cells of a profile to keep; an empty filter keeps all."""

    tasks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    passes: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise UsageError, with the nearest known name, if a name is unknown."""
        subjects = {subject for case in CASES.values() for subject in case.subjects}
        for name in self.tasks:
            check_name("task", name, task_names())
        for name in self.methods:
            check_name("method", name, METHODS.keys() | subjects)
        for name in self.passes:
            check_name("pass", name, PASSES)

    def keeps(self, cell: Cell) -> bool:
        """Return whether ``cell`` passes every filter."""
        return (
            (not self.tasks or cell.task in self.tasks)
            and (not self.methods or cell.method in self.methods)
            and (not self.seeds or cell.seed in self.seeds)
            and (not self.passes or cell.pass_name in self.passes)
        )


def expand(profile: Profile, machine: Machine, filters: Filters | None = None) -> list[Cell]:
    """Return the cells of ``profile`` in the order in which they run.

    Every measured method gets a gate cell of its shape, whether or not the profile lists one.

    Raises:
        UsageError: If a filter names something unknown.
    """
    filters = filters or Filters()
    filters.check()
    cells: dict[str, Cell] = {}
    for number, group in enumerate(profile.cells):
        for cell in _group_cells(profile.name, number, group, machine):
            gate = gate_cell(cell)
            for planned in (gate, cell) if gate else (cell,):
                cells.setdefault(planned.key, planned)
    kept = [cell for cell in cells.values() if filters.keeps(cell)]
    return sorted(kept, key=_place)


def _place(cell: Cell) -> tuple[int, int]:
    """Sort by pass; the steps pass by method as well, because a method's cells share a worker."""
    method = list(METHODS).index(cell.method) if cell.pass_name == "steps" else 0
    return list(PASSES).index(cell.pass_name), method


def gate_cell(cell: Cell) -> Cell | None:
    """Return the gate cell that must be ok before ``cell`` may be measured.

    None for cells that check themselves.
    """
    if cell.pass_name in SELF_CHECKING:
        return None
    neutral = {"train": {}, "measure": MeasureSettings(), "seed": 0, "turn": ""}
    changes = {**neutral, "pass_name": "gate", "recipe": "corrected"}
    return _with_key(cell.model_copy(update=changes))


def turns(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Yield the cells one by one, those of an interleaved pass by groups of the same turn."""
    done: set[str] = set()
    for cell in cells:
        if cell.pass_name not in INTERLEAVED:
            yield [cell]
        elif cell.turn not in done:
            done.add(cell.turn)
            yield [other for other in cells if other.turn == cell.turn]


def estimate_seconds(cell: Cell, records: Iterable[Record]) -> float | None:
    """Return how long such a cell took in earlier runs (median), or None if there was none."""
    kind = (cell.pass_name, cell.label, cell.method, cell.profile)
    busy = [
        float(record.settings["busy_s"] or 0)
        for record in records
        if record.status == "ok"
        and "busy_s" in record.settings
        and kind
        == (record.pass_name, record.settings.get("label"), record.method.name, record.profile)
    ]
    return statistics.median(busy) if busy else None


@cache
def code_hash() -> str:
    """Return a hash of the source text that can change a number: package, kernels, baselines."""
    roots = [PACKAGE_ROOT, PACKAGE_ROOT.parent / "csrc", PACKAGE_ROOT.parent / "baselines"]
    digest = hashlib.sha256()
    for root in roots:
        for path in sorted(root.rglob("*")):
            relative = path.relative_to(root)
            if path.suffix not in (".py", ".toml", ".cpp", ".h", ".cu", ".cuh"):
                continue
            if not set(UNHASHED).isdisjoint(relative.parts):
                continue
            digest.update(f"{root.name}/{relative.as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _group_cells(profile: str, number: int, group: CellGroup, machine: Machine) -> Iterator[Cell]:
    for pass_name in group.passes:
        for seed in group.seeds:
            for case, label, method in _subjects(group, machine.device):
                threads = find_case(case).threads if case else None
                cell = Cell(
                    key="",
                    pass_name=pass_name,
                    profile=profile,
                    label=label,
                    method=method,
                    seed=seed,
                    device=machine.device,
                    threads=threads or machine.threads,
                    data_dir=str(machine.data_dir.resolve()) if machine.data_dir else None,
                    case=case,
                    code=code_hash(),
                    turn=f"{pass_name}/{number}/{label}/{seed}",
                    **{name: getattr(group, name) for name in _COPIED},
                )
                yield _with_key(cell)


_COPIED = ("task", "options", "model", "train", "spion", "recipe", "measure", "timeout_s")


def _subjects(group: CellGroup, device: str) -> Iterator[tuple[str | None, str, str]]:
    """Yield case, label and method; cases for another device are left to runs on that one."""
    for name in group.cases:
        case = find_case(name)
        if case.device in (None, device):
            for subject in case.subjects:
                yield name, name, subject
    for method in group.methods:
        yield None, f"{group.task}{task_length(group)}", method


def _with_key(cell: Cell) -> Cell:
    what = cell.model_dump(mode="json", exclude={"key", "timeout_s", "turn"})
    what["versions"] = [version("torch"), version("numpy")]
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]
    prefix = f"{cell.pass_name}-{cell.label}-{cell.method}-s{cell.seed}"
    return cell.model_copy(update={"key": f"{prefix}-{digest}"})
