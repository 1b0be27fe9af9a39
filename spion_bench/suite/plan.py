"""From a profile to an ordered list of cells, without running anything.

Everything that a cell is measured with is resolved here, once: its task's settings with the
profile's replacements, its method's arguments, its gate and the cell that it continues (``needs``),
and its key (``keys``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spion_bench.literals import Precision
from spion_bench.records import KernelCell, MethodInfo, PassName, TaskCell, TaskSettings
from spion_bench.records.names import UsageError
from spion_bench.records.settings import PRODUCT_DTYPES, MeasureSettings
from spion_bench.suite.cases import find_case
from spion_bench.suite.implementations import find_implementation
from spion_bench.suite.keys import with_code, with_key
from spion_bench.suite.methods import BASELINE, METHODS
from spion_bench.suite.needs import with_needs
from spion_bench.suite.passes import PASSES, place
from spion_bench.suite.profile import CellGroup, Profile
from spion_bench.suite.profiles.ask import Filters, ask
from spion_bench.suite.settings import resolve
from spion_bench.tasks import load_config, load_spec


@dataclass(frozen=True)
class Machine:
    """What the user chose for a whole run.

    Attributes:
        device: Type of the device that is measured.
        threads: CPU threads of every child process.
        data_dir: Folder with downloaded data sets, or None.
        name: What tells this machine from others that may share the folder of results.
        precision: In what all models multiply, or None: as the profile says.
        processes: How many processes train a cell together, each on its share of every batch.
    """

    device: Literal["cpu", "cuda"]
    threads: int
    data_dir: Path | None = None
    name: str = ""
    precision: Precision | None = None
    processes: int = 1


def expand(
    profile: Profile, machine: Machine, filters: Filters | None = None
) -> list[TaskCell | KernelCell]:
    """Return the cells of ``profile`` in the order in which they run.

    Every measured method gets a gate cell of its shape, whether or not the profile lists one, and
    training that continues a shared dense prefix gets the cell that trains it.

    Raises:
        UsageError: If a filter names something that is unknown or that the profile has no
            settings for, or a setting is wrong.
    """
    filters = filters or Filters()
    filters.check()
    cells: dict[str, TaskCell | KernelCell] = {}
    for number, group in enumerate(ask(profile, filters).groups):
        for *needed, asked in _group_cells(profile.name, number, group, machine):
            is_kept = filters.keeps(asked)
            # A gate that is left out is run by the cell itself; a prefix is needed all the same.
            before = [
                c for c in needed if filters.keeps(c) or (is_kept and c.pass_name == "prefix")
            ]
            for cell in [*before, asked] if is_kept else before:
                cells.setdefault(cell.key, cell)
    return sorted(cells.values(), key=_place)


def turns(cells: Sequence[TaskCell | KernelCell]) -> Iterator[list[TaskCell | KernelCell]]:
    """Yield the cells one by one, those of an interleaved pass by groups of the same turn."""
    done: set[str] = set()
    for cell in cells:
        if not PASSES[cell.pass_name].interleaved:
            yield [cell]
        elif cell.turn not in done:
            done.add(cell.turn)
            yield [other for other in cells if other.turn == cell.turn]


def baseline_of(cells: Sequence[TaskCell | KernelCell]) -> TaskCell | KernelCell:
    """Return the cell of a turn that the others are compared with, and that runs twice.

    It is that of ``BASELINE``, else the first of another reference, else the first.
    """
    return min(
        cells, key=lambda cell: (cell.method.name != BASELINE, cell.method.role != "reference")
    )


def most_processes(cells: Sequence[TaskCell | KernelCell]) -> int:
    """Return how many processes train a cell together at most."""
    return max((cell.processes for cell in cells if isinstance(cell, TaskCell)), default=1)


def _place(cell: TaskCell | KernelCell) -> tuple[int, int]:
    """Sort by pass; a pass with warm workers by method as well, because its cells share one."""
    is_warm = PASSES[cell.pass_name].isolation == "warm"
    method = list(METHODS).index(cell.method.name) if is_warm else 0
    return place(cell.pass_name), method


def _group_cells(
    profile: str, number: int, group: CellGroup, machine: Machine
) -> Iterator[list[TaskCell | KernelCell]]:
    """Yield each cell that a group asks for, after the cells that it needs."""
    if group.task is None:
        for kernel_cell in _kernel_cells(profile, number, group, machine):
            yield [kernel_cell]
        return
    settings = resolve(group, machine.device)
    if machine.precision is not None:
        settings = settings.model_copy(update={"precision": machine.precision})
    for pass_name in group.passes:
        of_task = pass_name == "shortcuts"
        for seed in (0,) if of_task else group.seeds:
            for method, asked in (
                _shortcuts(group.task, settings) if of_task else _methods(group, settings)
            ):
                cell = _task_cell(
                    profile, group.task, pass_name, method, asked, seed, group, machine
                )
                turn = f"{pass_name}/{number}/{cell.label}/{seed}"
                yield with_needs(cell.model_copy(update={"turn": turn}))


def _methods(group: CellGroup, settings: TaskSettings) -> Iterator[tuple[MethodInfo, TaskSettings]]:
    """Yield each method of a group, and its settings: its own come before the profile's."""
    for method in map(METHODS.__getitem__, group.methods):
        spion = settings.spion.model_copy(update=method.spion)
        asked = settings.model_copy(update={"spion": spion})
        yield method.info(spion, settings.model.max_length), asked


def _shortcuts(task: str, settings: TaskSettings) -> Iterator[tuple[MethodInfo, TaskSettings]]:
    """Yield each shortcut of a task; of the settings, it depends on the task's options alone."""
    published = load_config(task)
    asked = TaskSettings(
        options=settings.options,
        model=published.model.model_copy(update={"max_length": settings.model.max_length}),
        train=published.train,
        spion=published.spion,
        recipe="corrected",
        precision=settings.precision,
        measure=MeasureSettings(),
    )
    for shortcut in load_spec(task).shortcuts:
        yield (
            MethodInfo(
                name=shortcut.name,
                family="shortcut",
                role="control",
                base=shortcut.name,
                summary=shortcut.summary,
                native="scikit-learn",
                requires=("scikit-learn",),
            ),
            asked,
        )


def _task_cell(
    profile: str,
    task: str,
    pass_name: PassName,
    method: MethodInfo,
    settings: TaskSettings,
    seed: int,
    group: CellGroup,
    machine: Machine,
) -> TaskCell:
    trains = pass_name == "accuracy"
    if trains:
        settings = settings.model_copy(update={"measure": MeasureSettings()})
        if settings.train.batch_size % machine.processes:
            raise UsageError(
                f"--processes-per-cell: expected a divisor of the {settings.train.batch_size} "
                f"examples in a batch of {task}, got {machine.processes}"
            )
    length = settings.model.max_length
    return with_code(
        TaskCell(
            key="",
            pass_name=pass_name,
            profile=profile,
            label=f"{task}{length}",
            method=method,
            seed=seed,
            device=machine.device,
            machine=machine.name,
            dtype=PRODUCT_DTYPES[settings.precision],
            threads=machine.threads,
            timeout_s=group.timeout_s,
            code="",
            task=task,
            length=length,
            batch_size=settings.train.batch_size if trains else settings.measure.batch_size,
            settings=settings,
            processes=machine.processes if trains else 1,
            factor=group.factor,
            data_dir=str(machine.data_dir.resolve()) if machine.data_dir else None,
        )
    )


def _kernel_cells(
    profile: str, number: int, group: CellGroup, machine: Machine
) -> Iterator[KernelCell]:
    """Yield the cells of kernel cases; cases for another device are left to runs on that one."""
    for name in group.cases:
        case = find_case(name)
        if case.device not in (None, machine.device):
            continue
        for seed in group.seeds:
            for implementation in map(find_implementation, case.implementations):
                cell = KernelCell(
                    key="",
                    pass_name="kernel",
                    profile=profile,
                    label=name,
                    method=implementation.info(case),
                    seed=seed,
                    device=machine.device,
                    machine=machine.name,
                    dtype=implementation.computes_in(case),
                    threads=case.threads or machine.threads,
                    timeout_s=group.timeout_s,
                    code="",
                    turn=f"kernel/{number}/{name}/{seed}",
                    measure=group.measure,
                    **case.cell_fields(),
                )
                yield with_key(with_code(cell))
