"""What runs a plan's turns, and the one that runs them one after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from spion_bench.passes.session import Job
from spion_bench.records import CellBase, KernelCell, Measurement, TaskCell
from spion_bench.run.conduct import OnEvent, conduct
from spion_bench.run.messages import Progress, RoundStarted

Conduct = Callable[[Sequence[Job], OnEvent], dict[str, Measurement]]
Planned = TaskCell | KernelCell


@dataclass(frozen=True)
class Begun:
    """A turn that is to be measured now.

    Attributes:
        cells: Its cells.
        jobs: What its workers are to do; none for cells that are barred.
        barred: What comes of the others, by key.
        started: When it began.
    """

    cells: Sequence[Planned]
    jobs: Sequence[Job]
    barred: Mapping[str, Measurement]
    started: datetime


class Turns(Protocol):
    """The runner, as executors see it; they call it from the main thread alone."""

    def begin(self, cells: Sequence[Planned]) -> Begun:
        """Return what is to be done for a turn, once the cells that it needs have records."""

    def event(self, cell: CellBase, event: Progress | RoundStarted) -> None:
        """Show what a worker reports."""

    def end(self, begun: Begun, found: Mapping[str, Measurement]) -> None:
        """Store what came of a turn's jobs."""


class Executor(Protocol):
    """Runs turns."""

    def run(self, turns: Sequence[Sequence[Planned]], runner: Turns) -> None:
        """Begin and end every turn, each after the cells that it needs.

        An interrupt leaves what has ended, and no worker.
        """


class OneByOne:
    """Runs one turn after another, in plan order.

    Args:
        conduct: Runs the workers of a turn; tests replace it.
    """

    def __init__(self, conduct: Conduct = conduct) -> None:
        self._conduct = conduct

    def run(self, turns: Sequence[Sequence[Planned]], runner: Turns) -> None:
        """Run every turn."""
        for cells in turns:
            begun = runner.begin(cells)
            runner.end(begun, self._conduct(begun.jobs, runner.event) if begun.jobs else {})
