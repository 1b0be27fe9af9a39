"""Conducts worker processes: one cell alone, the cells of one turn, or a method's one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spion_bench.measure.clock import round_orders
from spion_bench.measure.memory import MALLOC_ENVIRONMENT
from spion_bench.run.child import Child, ChildEndedError
from spion_bench.run.interrupts import deferred_interrupts
from spion_bench.run.messages import Job, Outcome
from spion_bench.suite.plan import INTERLEAVED, Cell

# Threads that wait sleep instead of spinning. With spinning, one busy program beside the
# measurement made training steps six times slower, and not every method alike.
OMP_WAIT_POLICY = "PASSIVE"

Tell = Callable[[Cell, dict[str, Any]], None]
StartChild = Callable[[Job], Child]


@dataclass(frozen=True)
class Conducted:
    """What became of one cell.

    Attributes:
        outcome: What it gave.
        busy_s: Seconds during which its worker had work to do.
    """

    outcome: Outcome
    busy_s: float


def start_child(job: Job) -> Child:
    """Start the worker of ``job``; its stderr goes to ``<out>/logs/<cell key>.log``."""
    cell = job.cell
    environment = {
        "OMP_NUM_THREADS": str(cell.threads),
        "MKL_NUM_THREADS": str(cell.threads),
        "OMP_WAIT_POLICY": OMP_WAIT_POLICY,
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # without it torch trains on no GPU reproducibly
    }
    if cell.measures_memory:
        environment |= MALLOC_ENVIRONMENT
    return Child(job, Path(job.out) / "logs" / f"{cell.key}.log", environment)


def conduct(
    jobs: Sequence[Job], tell: Tell, start: StartChild = start_child
) -> dict[str, Conducted]:
    """Run the cells of one turn and return what became of each, by cell key.

    All workers of an interleaved pass are prepared before the first one measures; then they take
    their rounds one at a time in a random order that is drawn with the first cell's seed.

    Args:
        jobs: One job, or those of all cells of a turn.
        tell: Called with every event worth showing.
        start: Starts a worker; tests replace it.
    """
    children: dict[str, Child] = {}
    outcomes: dict[str, Outcome] = {}
    try:
        for job in jobs:
            with deferred_interrupts():  # a worker that nobody knows could not be stopped
                children[job.cell.key] = start(job)
        if jobs[0].cell.pass_name in INTERLEAVED:
            _take_rounds(jobs, children, outcomes, tell)
        for job in jobs:
            _await(job.cell, children, outcomes, "outcome", tell)
    finally:
        for child in children.values():
            child.stop()
    return {key: Conducted(outcomes[key], children[key].busy_s) for key in children}


class WarmConductor:
    """Conducts as ``conduct`` does, but lets a method's cells of the steps pass share a worker.

    Starting a worker takes longer than two training steps. Such cells are not timed, so that what
    an earlier one left warm cannot flatter a number. Use it in a ``with`` statement.

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

    def __call__(self, jobs: Sequence[Job], tell: Tell) -> dict[str, Conducted]:
        """Run the cells of one turn and return what became of each, by cell key."""
        cell = jobs[0].cell
        if cell.pass_name != "steps" or cell.method != self._method:
            self._release()
        return (
            self._serve(jobs[0], tell)
            if cell.pass_name == "steps"
            else conduct(jobs, tell, self._start)
        )

    def _serve(self, job: Job, tell: Tell) -> dict[str, Conducted]:
        if self._child is None:
            with deferred_interrupts():
                self._child, self._method = self._start(job), job.cell.method
        else:
            self._child.serve(job)
        child, outcomes = self._child, dict[str, Outcome]()
        _await(job.cell, {job.cell.key: child}, outcomes, "outcome", tell, stays=True)
        if not child.is_running:
            self._release()
        return {job.cell.key: Conducted(outcomes[job.cell.key], child.busy_s)}

    def _release(self) -> None:
        if self._child is not None:
            self._child.stop()
        self._child = None


def _take_rounds(
    jobs: Sequence[Job], children: dict[str, Child], outcomes: dict[str, Outcome], tell: Tell
) -> None:
    cells = {job.cell.key: job.cell for job in jobs}
    for cell in cells.values():
        _await(cell, children, outcomes, "ready", tell)
    first = jobs[0].cell
    rounds = first.measure.rounds
    orders = round_orders(cells, rounds=rounds, seed=first.seed)
    for number, order in enumerate(orders, start=1):
        for key in order:
            if key in outcomes:
                continue
            tell(cells[key], {"event": "round", "round": number, "rounds": rounds})
            children[key].send({"request": "round"})
            _await(cells[key], children, outcomes, "measured", tell)
    for key in cells.keys() - outcomes.keys():
        children[key].send({"request": "finish"})


def _await(
    cell: Cell,
    children: dict[str, Child],
    outcomes: dict[str, Outcome],
    wanted: str,
    tell: Tell,
    *,
    stays: bool = False,
) -> None:
    """Pass events on until ``wanted`` comes; note the outcome if the worker gives one or ends.

    After its outcome a worker ends, unless it ``stays`` for another job.
    """
    child = children[cell.key]
    while cell.key not in outcomes:
        try:
            event = child.receive()
        except TimeoutError as error:
            child.stop()
            outcomes[cell.key] = Outcome(status="timeout", reason=str(error))
        except ChildEndedError:
            outcomes[cell.key] = child.failure()
        else:
            if event["event"] == "outcome":
                outcomes[cell.key] = Outcome.model_validate(event["outcome"])
                if not stays:
                    child.finish()
            elif event["event"] == wanted:
                return
            else:
                tell(cell, event)
