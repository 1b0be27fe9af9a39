"""Conducts worker processes: one cell alone, the cells of one turn, or a method's one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from spion_bench.measure.load import LoadSampler, Sampler
from spion_bench.measure.machine import memory_shortage, shell_affinity, worker_environment
from spion_bench.measure.memory import MALLOC_ENVIRONMENT
from spion_bench.passes.session import Job
from spion_bench.records import CellBase, KernelCell, Measurement, TaskCell, Turn
from spion_bench.records.paired import StoppingRule
from spion_bench.records.settings import MeasureSettings
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
from spion_bench.run.rounds import Rounds
from spion_bench.suite.passes import PASSES, measures_memory, time_limit
from spion_bench.suite.plan import baseline_of

SECOND = "~second"
"""Ends the key of the baseline's second worker."""

OnEvent = Callable[[CellBase, Progress | RoundStarted], None]
StartChild = Callable[[Job], Child]
Found = dict[str, Measurement]
_Wanted = TypeVar("_Wanted", Started, Ready, Measured, Result)


def start_child(
    job: Job,
    cpus: frozenset[int] | None = None,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Child:
    """Start the worker of ``job``; its stderr goes to ``<out>/logs/<cell key>.log``.

    It has none of the user's settings of threads.

    Args:
        job: What it is to do.
        cpus: The CPUs that it may use; None: those of the user's shell.
        settings: Environment variables that it has besides.
    """
    cell = job.cell
    environment = {**worker_environment(cell.threads), **settings}
    if PASSES[cell.pass_name].deterministic:
        environment |= {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}  # or torch refuses to on a GPU
    if measures_memory(cell):
        environment |= MALLOC_ENVIRONMENT
    with shell_affinity():
        if cpus is not None:
            os.sched_setaffinity(0, cpus)
        return Child(job, Path(job.out) / "logs" / f"{cell.key}.log", environment)


def conduct(
    jobs: Sequence[Job],
    on_event: OnEvent,
    start: StartChild = start_child,
    make_sampler: Callable[[], Sampler] = LoadSampler,
) -> Found:
    """Run the cells of one turn and return what came of each, by cell key.

    All workers of an interleaved pass, the second one of the baseline too, are prepared before the
    first one measures; then they take their rounds one at a time, see ``rounds``.

    Args:
        jobs: One job, or those of all cells of a turn.
        on_event: Called with every event worth showing.
        start: Starts a worker; tests replace it.
        make_sampler: Makes what samples the load of other processes; tests replace it.
    """
    is_interleaved = PASSES[jobs[0].cell.pass_name].interleaved
    workers = [*jobs, _second_of_baseline(jobs)] if is_interleaved else jobs
    children: dict[str, Child] = {}
    found: Found = {}
    turn: Turn | None = None
    try:
        for job in workers:
            with deferred_interrupts():  # a worker missing from this dict could not be stopped
                children[job.cell.key] = start(job)
        for job in workers:
            _check_code(job.cell, children, found, on_event)
        if is_interleaved:
            turn = _take_rounds(workers, children, found, on_event, make_sampler)
        for job in workers:
            _await(job.cell, children, found, Result, on_event)
    finally:
        for child in children.values():
            child.stop()
    done = {job.cell.key: _timed(found[job.cell.key], children[job.cell.key]) for job in jobs}
    return {key: each.model_copy(update={"turn": turn}) for key, each in done.items()}


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
        self.release()

    def __call__(self, jobs: Sequence[Job], on_event: OnEvent) -> Found:
        """Run the cells of one turn and return what came of each, by cell key."""
        cell = jobs[0].cell
        is_warm = PASSES[cell.pass_name].isolation == "warm"
        if not is_warm or cell.method.name != self._method:
            self.release()
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
            self.release()
        return {key: _timed(found[key], child)}

    def release(self) -> None:
        """Stop the worker that waits for another cell of its method, if any does."""
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


def _second_of_baseline(jobs: Sequence[Job]) -> Job:
    """Return the job of the baseline's second worker."""
    baseline = baseline_of([job.cell for job in jobs])
    first = next(job for job in jobs if job.cell.key == baseline.key)
    cell = baseline.model_copy(update={"key": f"{baseline.key}{SECOND}"})
    return first.model_copy(update={"cell": cell, "is_second": True})


def _take_rounds(
    jobs: Sequence[Job],
    children: dict[str, Child],
    found: Found,
    on_event: OnEvent,
    make_sampler: Callable[[], Sampler],
) -> Turn:
    """Let the workers of a turn, the last of them the baseline's second one, take their rounds."""
    cells = {job.cell.key: job.cell for job in jobs}
    for cell in cells.values():
        _await(cell, children, found, Ready, on_event)
    if (problem := memory_shortage(len(cells.keys() - found.keys()))) is not None:
        for key in cells.keys() - found.keys():
            children[key].stop()
            found[key] = Measurement(status="oom", reason=problem)
    *subjects, second = cells
    baseline = cells[second.removesuffix(SECOND)]
    rule = rule_of(baseline)

    def ask(key: str, number: int, repeats: bool) -> Measured | None:
        if key in found:
            return None
        total = rule.least_rounds if number <= rule.least_rounds else rule.most_rounds
        on_event(cells[key], RoundStarted(number=number, rounds=total))
        children[key].allow(time_limit(cells[key]))
        children[key].send(RoundRequest(repeats=repeats))
        return _await(cells[key], children, found, Measured, on_event)

    sampler = None if measures_memory(baseline) else make_sampler()
    rounds = Rounds(subjects, baseline.key, second, rule, sampler)
    rounds.take(ask, baseline.seed)
    for key in cells.keys() - found.keys():
        children[key].allow(time_limit(cells[key]))
        children[key].send(FinishRequest())
    return Turn(
        methods=[cells[key].method.name for key in subjects],
        rounds=rounds.count,
        baseline=baseline.method.name,
        aa=rounds.aa(),
        load=rounds.load(),
        gpu_repeats=rounds.gpu_repeats,
        marks=rounds.marks(),
    )


def rule_of(cell: TaskCell | KernelCell) -> StoppingRule:
    """Return when the cells of a turn are measured well enough, as their settings say."""
    measure = cell.measure if isinstance(cell, KernelCell) else cell.resolved().measure
    settings = measure or MeasureSettings()
    return StoppingRule(
        least_rounds=settings.rounds,
        most_rounds=settings.most_rounds,
        half_width=settings.half_width,
        limit_s=cell.timeout_s,
    )


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
