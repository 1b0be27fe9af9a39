"""A group's accuracies against time: its runs' curves with the step times of its speed cells."""

from __future__ import annotations

from dataclasses import dataclass

from spion_bench.records import TaskCell
from spion_bench.records.statistics import Estimate
from spion_bench.report.course.times import (
    Reach,
    StepTimes,
    TimedRun,
    final_accuracy,
    time_to,
    timed_run,
    training_speedup,
)
from spion_bench.report.groups import Group, MethodCells, timed_groups
from spion_bench.report.load import Outcome, RecordSet
from spion_bench.report.methods import BASELINE
from spion_bench.report.words import plural


@dataclass(frozen=True)
class Course:
    """How a method gets to its accuracy.

    Attributes:
        runs: Its runs by seed, with computed times; empty where step times are missing.
        reaches: How long it takes to shares of dense attention's final accuracy.
        speedup: Whole training against dense attention's; None for it itself, or if unknown.
        basis: Where the step times come from; else why there are none.
    """

    runs: dict[int, TimedRun]
    reaches: tuple[Reach, ...] = ()
    speedup: Estimate | None = None
    basis: str = ""

    @property
    def is_timed(self) -> bool:
        """Whether there are times."""
        return bool(self.runs)


def courses_of(run: RecordSet, group: Group) -> dict[str, Course]:
    """Return the course of every method of a group that was trained, by name."""
    trained = {name: c for name, c in group.methods.items() if _with_curves(c)}
    timed = next(iter(timed_groups(run, group)), None)
    found = {name: _timed(timed, cells) for name, cells in trained.items()}
    dense = found.get(group.baseline.method) if group.baseline else None
    final = final_accuracy(list(dense.runs.values())) if dense else None
    if dense is None or final is None:
        return found
    return {
        name: Course(
            course.runs,
            tuple(time_to(list(course.runs.values()), final)) if course.is_timed else (),
            training_speedup(dense.runs, course.runs) if course is not dense else None,
            course.basis,
        )
        for name, course in found.items()
    }


def _timed(timed: Group | None, cells: MethodCells) -> Course:
    outcomes = _with_curves(cells)
    times = step_times(timed, cells, outcomes[0])
    if isinstance(times, str):
        return Course({}, basis=f"not measured: {times}")
    runs = {}
    for outcome in outcomes:
        pattern = outcome.measured.metrics.get("pattern_wall_s")
        assert outcome.artifact is not None
        curve = outcome.artifact.curve
        if curve.sparse.any() and pattern is None:
            return Course({}, basis="not measured: the record has no pattern_wall_s")
        runs[outcome.cell.seed] = timed_run(curve, times, pattern.value if pattern else 0.0)
    return Course(runs, basis=times.basis)


def step_times(timed: Group | None, cells: MethodCells, trained: Outcome) -> StepTimes | str:
    """Return what a method's training steps take when the machine is quiet, or why that is unknown.

    Times count only of unmarked turns, with the model and batch of the training.
    """
    if timed is None:
        return "no speed cell in this run"
    own = _step(timed, cells.method, trained)
    if isinstance(own, str):
        return own
    if cells.info.variant is None:
        return StepTimes(own[0], None, own[1])
    dense = _step(timed, BASELINE, trained)
    if isinstance(dense, str):
        return f"dense attention: {dense}"
    return StepTimes(dense[0], own[0], own[1])


def _step(timed: Group, method: str, trained: Outcome) -> tuple[float, str] | str:
    cells = timed.methods.get(method)
    if cells is None:
        return "no speed cell in this run"
    metric = cells.metric("speed", "train_step_ms")
    if metric is None:
        return cells.why_missing("speed", "train_step_ms")
    if marks := cells.marks("speed"):
        return f"step times are marked: {', '.join(marks)}"
    if not all(_is_alike(each, trained) for each in cells.ok("speed")):
        return "the speed pass timed another model or batch"
    rounds = plural(len(metric.round_sizes) or len(metric.samples) or 1, "round")
    threads = plural(timed.setting.threads, "thread")
    return metric.value, f"step times of the speed pass, {threads}, {rounds}"


def _is_alike(timed: Outcome, trained: Outcome) -> bool:
    cells = timed.cell, trained.cell
    if not all(isinstance(cell, TaskCell) and cell.settings is not None for cell in cells):
        return False
    first, second = (cell.resolved() for cell in cells if isinstance(cell, TaskCell))
    batches = {cell.batch_size for cell in cells if isinstance(cell, TaskCell)}
    has_pattern = timed.method.variant is not None
    is_same_pattern = not has_pattern or first.spion == second.spion
    return len(batches) == 1 and first.model == second.model and is_same_pattern


def _with_curves(cells: MethodCells) -> list[Outcome]:
    """Return the runs that are what their method says, with their curves."""
    proven = cells.proven()
    return [o for o in proven if o.artifact is not None and len(o.artifact.curve.step)]
