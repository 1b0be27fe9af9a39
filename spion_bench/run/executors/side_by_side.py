"""Runs cells side by side on one machine: those that take no time that a table compares.

A place for each, with cores and GPUs of its own. A turn that is timed runs alone, on the CPUs of
the user's shell, as it does without this executor. Workers are talked to in threads; the runner is
called from the main thread alone, so records and display need no lock.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

from spion_bench.passes.session import Job
from spion_bench.records import CellBase, Measurement, TaskCell
from spion_bench.run.child import Child
from spion_bench.run.conduct import WarmConductor, conduct, start_child
from spion_bench.run.executors.executor import Begun, Conduct, Planned, Turns
from spion_bench.run.executors.places import Place
from spion_bench.run.interrupts import deferred_interrupts
from spion_bench.run.messages import Progress, RoundStarted
from spion_bench.suite.passes import PASSES

StartAt = Callable[[Job, Place], Child]
Done = Future[dict[str, Measurement]]
News = Done | tuple[CellBase, Progress | RoundStarted]


def start_at(job: Job, place: Place) -> Child:
    """Start the worker of ``job`` on the CPUs of a place, where it sees the place's GPUs alone."""
    seen = {} if place.gpus is None else {"CUDA_VISIBLE_DEVICES": ",".join(place.gpus)}
    return start_child(job, place.cpus, seen)


class SideBySide:
    """Runs untimed cells side by side, one in each place, and timed turns alone.

    Args:
        places: Where; no two share a core or a GPU.
        start: Starts a worker; tests replace it.
        conduct_alone: Runs the workers of a timed turn; tests replace it.
    """

    def __init__(
        self,
        places: Sequence[Place],
        start: StartAt = start_at,
        conduct_alone: Conduct = conduct,
    ) -> None:
        self._seats = [_Seat(place, start) for place in places]
        self._conduct_alone = conduct_alone

    def run(self, turns: Sequence[Sequence[Planned]], runner: Turns) -> None:
        """Run every turn."""
        waiting = list(turns)
        unfinished = {cell.key for turn in turns for cell in turn}
        running: dict[Done, tuple[Begun, _Seat]] = {}
        news: queue.SimpleQueue[News] = queue.SimpleQueue()

        def tell(cell: CellBase, event: Progress | RoundStarted) -> None:
            news.put((cell, event))

        def finish(begun: Begun, found: Mapping[str, Measurement]) -> None:
            runner.end(begun, found)
            unfinished.difference_update(cell.key for cell in begun.cells)

        with ExitStack() as stack:
            for seat in self._seats:
                stack.enter_context(seat.conductor)
            pool = stack.enter_context(ThreadPoolExecutor(len(self._seats)))
            stack.callback(self._interrupt, pool)
            while waiting or running:
                taken = {seat for _, seat in running.values()}
                free = [seat for seat in self._seats if seat not in taken]
                turn = _next(waiting, unfinished, may_be_alone=not running) if free else None
                if turn is not None:
                    waiting.remove(turn)
                    begun = runner.begin(turn)
                    if not begun.jobs:
                        finish(begun, {})
                    elif not PASSES[turn[0].pass_name].side_by_side:
                        for seat in self._seats:
                            seat.conductor.release()
                        finish(begun, self._conduct_alone(begun.jobs, runner.event))
                    else:
                        done = pool.submit(free[0].conductor, begun.jobs, tell)
                        running[done] = begun, free[0]
                        done.add_done_callback(news.put)
                    continue
                heard = news.get()
                if isinstance(heard, tuple):
                    runner.event(*heard)
                else:
                    begun, _ = running.pop(heard)
                    finish(begun, self._noted(heard.result()))

    def _noted(self, found: Mapping[str, Measurement]) -> dict[str, Measurement]:
        """Return measurements that say beside how many others they may have run."""
        return {
            key: each.model_copy(update={"extra": {**each.extra, "side_by_side": len(self._seats)}})
            for key, each in found.items()
        }

    def _interrupt(self, pool: ThreadPoolExecutor) -> None:
        """End what still runs, after an interrupt or an error; nothing runs otherwise."""
        with deferred_interrupts():
            for seat in self._seats:
                seat.interrupt()
            pool.shutdown()


def _next(
    waiting: Sequence[Sequence[Planned]], unfinished: set[str], *, may_be_alone: bool
) -> Sequence[Planned] | None:
    """Return the first turn that may begin now; nothing overtakes a turn that runs alone."""
    for turn in waiting:
        if not PASSES[turn[0].pass_name].side_by_side:
            return turn if may_be_alone and turn is waiting[0] else None
        needed = {key for c in turn if isinstance(c, TaskCell) for key in (c.gate, c.parent)}
        if not needed & unfinished:
            return turn
    return None


class _Seat:
    """A place, and what conducts the workers there; ``interrupt`` comes from another thread."""

    def __init__(self, place: Place, start: StartAt) -> None:
        self.conductor = WarmConductor(self._start)
        self._place = place
        self._start_at = start
        self._child: Child | None = None
        self._is_interrupted = False
        self._lock = threading.Lock()

    def _start(self, job: Job) -> Child:
        with self._lock:
            if self._is_interrupted:
                raise KeyboardInterrupt
            self._child = self._start_at(job, self._place)
            return self._child

    def interrupt(self) -> None:
        with self._lock:
            self._is_interrupted = True
            if self._child is not None:
                self._child.interrupt()
