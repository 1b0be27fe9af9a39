"""Conducts worker processes: one cell alone, the cells of one turn, or a method's one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from spion_bench.measure.clock import round_orders
from spion_bench.measure.memory import MALLOC_ENVIRONMENT
from spion_bench.passes.session import Job
from spion_bench.records import CellBase, KernelCell, Measurement, TaskCell
from spion_bench.run.child import Child, ChildEndedError
from spion_bench.run.interrupts import deferred_interrupts
from spion_bench.run.messages import (
    FinishRequest,
    Measured,
    Progress,
    Ready,
    Result,
    RoundRequest,
    RoundStarted,
    Started,
)
from spion_bench.suite.passes import PASSES

# Threads that wait sleep instead of spinning. With spinning, one busy program next to the
# measurement made training steps six times slower, some methods more than others.
OMP_WAIT_POLICY = "PASSIVE"

OnEvent = Callable[[CellBase, Progress | RoundStarted], None]
StartChild = Callable[[Job], Child]
Found = dict[str, Measurement]
_Wanted = TypeVar("_Wanted", Started, Ready, Measured, Result)


def start_child(job: Job) -> Child:
    """Start the worker of ``job``; its stderr goes to ``<out>/logs/<cell key>.log``."""
    cell = job.cell
    environment = {
        "OMP_NUM_THREADS": str(cell.threads),
        "MKL_NUM_THREADS": str(cell.threads),
        "OMP_WAIT_POLICY": OMP_WAIT_POLICY,
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # needed to train reproducibly on a GPU
    }
    if measures_memory(cell):
        environment |= MALLOC_ENVIRONMENT
    return Child(job, Path(job.out) / "logs" / f"{cell.key}.log", environment)


def measures_memory(cell: TaskCell | KernelCell) -> bool:
    """Return whether the worker must start with a malloc that returns freed memory at once."""
    if isinstance(cell, KernelCell):
        return cell.measures == "memory"
    return cell.pass_name == "memory"


def conduct(jobs: Sequence[Job], on_event: OnEvent, start: StartChild = start_child) -> Found:
    """Run the cells of one turn and return what came of each, by cell key.

    All workers of an interleaved pass are prepared before the first one measures; then they take
    their rounds one at a time in a random order that is drawn with the first cell's seed.

    Args:
        jobs: One job, or those of all cells of a turn.
        on_event: Called with every event worth showing.
        start: Starts a worker; tests replace it.
    """
    children: dict[str, Child] = {}
    found: Found = {}
    try:
        for job in jobs:
            with deferred_interrupts():  # a worker missing from this dict could not be stopped
                children[job.cell.key] = start(job)
        for job in jobs:
            _check_code(job.cell, children, found, on_event)
        if PASSES[jobs[0].cell.pass_name].interleaved:
            _take_rounds(jobs, children, found, on_event)
        for job in jobs:
            _await(job.cell, children, found, Result, on_event)
    finally:
        for child in children.values():
            child.stop()
    return {key: _timed(found[key], child) for key, child in children.items()}


class WarmConductor:
    """Conducts as ``conduct`` does, but lets a method's cells of a warm pass share a worker.

    Starting a worker takes longer than two training steps. Such cells are not timed,
    so warm caches cannot distort a number. Use it in a ``with`` statement.

    Args:
        start: Starts a worker; tests replace it.
    """

    def __init__(self, start: StartChild = start_child) -> None:
        self._start = start
        self._child: Child | None = None
        self._method = ""

    def __enter__(self) -> WarmConductor:
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def __call__(self, jobs: Sequence[Job], on_event: OnEvent) -> Found:
        """Run the cells of one turn and return what came of each, by cell key."""
        cell = jobs[0].cell
        is_warm = PASSES[cell.pass_name].isolation == "warm"
        if not is_warm or cell.method.name != self._method:
            self._release()
        return self._serve(jobs[0], on_event) if is_warm else conduct(jobs, on_event, self._start)

    def _serve(self, job: Job, on_event: OnEvent) -> Found:
        if self._child is None:
            with deferred_interrupts():
                self._child, self._method = self._start(job), job.cell.method.name
        else:
            self._child.serve(job)
        child, key = self._child, job.cell.key
        found: Found = {}
        _check_code(job.cell, {key: child}, found, on_event)
        _await(job.cell, {key: child}, found, Result, on_event, stays=True)
        if not child.is_running:
            self._release()
        return {key: _timed(found[key], child)}

    def _release(self) -> None:
        if self._child is not None:
            self._child.stop()
        self._child = None


def _timed(measurement: Measurement, child: Child) -> Measurement:
    return measurement.model_copy(update={"busy_s": round(child.busy_s, 3)})


def _check_code(
    cell: TaskCell | KernelCell, children: dict[str, Child], found: Found, on_event: OnEvent
) -> None:
    """Stop a worker whose code is not what the cell was planned with, or that does not say."""
    started = _await(cell, children, found, Started, on_event)
    if started is None and found[cell.key].status == "ok":
        found[cell.key] = Measurement(status="crash", reason="did not say which code it runs")
    if started is not None and started.code != cell.code:
        children[cell.key].stop()
        reason = (
            f"the sources in {started.package} are not those that the plan was made with "
            f"({started.code} instead of {cell.code}); run the same command again"
        )
        found[cell.key] = Measurement(status="skipped", reason=reason)


def _take_rounds(
    jobs: Sequence[Job], children: dict[str, Child], found: Found, on_event: OnEvent
) -> None:
    cells = {job.cell.key: job.cell for job in jobs}
    for cell in cells.values():
        _await(cell, children, found, Ready, on_event)
    first = jobs[0].cell
    rounds = rounds_of(first)
    orders = round_orders(cells, rounds=rounds, seed=first.seed)
    for number, order in enumerate(orders, start=1):
        for key in order:
            if key in found:
                continue
            on_event(cells[key], RoundStarted(number=number, rounds=rounds))
            children[key].send(RoundRequest())
            _await(cells[key], children, found, Measured, on_event)
    for key in cells.keys() - found.keys():
        children[key].send(FinishRequest())


def rounds_of(cell: TaskCell | KernelCell) -> int:
    """Return in how many rounds the cells of a turn are measured."""
    measure = cell.measure if isinstance(cell, KernelCell) else cell.resolved().measure
    if measure is None:
        raise ValueError(f"cell {cell.key}: a record of schema 1 does not keep its settings")
    return measure.rounds


def _await(
    cell: CellBase,
    children: dict[str, Child],
    found: Found,
    wanted: type[_Wanted],
    on_event: OnEvent,
    *,
    stays: bool = False,
) -> _Wanted | None:
    """Pass events on until ``wanted`` arrives, and return it.

    If the worker gives its result instead, or ends, that is noted, and there is nothing to return.
    After its result a worker ends, unless it ``stays`` for another job.
    """
    child = children[cell.key]
    while cell.key not in found:
        try:
            event = child.receive()
        except TimeoutError as error:
            child.stop()
            found[cell.key] = Measurement(status="timeout", reason=str(error))
        except ChildEndedError:
            found[cell.key] = child.failure()
        else:
            if isinstance(event, Result):
                found[cell.key] = event.measurement
                if not stays:
                    child.finish()
            elif isinstance(event, wanted):
                return event
            elif isinstance(event, Progress):
                on_event(cell, event)
    return None
