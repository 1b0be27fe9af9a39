"""What a pass gives its worker: a session, built for a cell, then checked, measured and read.

A pass is a module with a ``Session``; ``suite.passes`` names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from spion_bench.records import Measurement, Metric
from spion_bench.records.cell import Cell, Stored
from spion_bench.suite.metrics import sampled

if TYPE_CHECKING:  # the runner knows jobs without torch
    from spion_bench.passes.gate.oracle import GateResult
    from spion_bench.train.progress import ProgressEvent

OnProgress = Callable[["ProgressEvent"], None]


class Job(Stored):
    """What a worker is asked to do.

    Attributes:
        cell: The cell to measure.
        out: Folder of the run's results.
        check_first: Whether the worker runs the gate itself, as no gate cell covers the method.
        is_second: Whether the cell has another worker, which runs the gate if any does: the
            baseline's second one, for A/A.
        pattern_artifact: Artifact of an accuracy cell whose patterns to use, or None.
        pattern_sha256: Its recorded sha256.
        pattern_cell: Key of that accuracy cell.
    """

    cell: Cell
    out: str
    check_first: bool = False
    is_second: bool = False
    pattern_artifact: str | None = None
    pattern_sha256: str | None = None
    pattern_cell: str | None = None


class Session(Protocol):
    """One cell in its worker, built as ``Session(job, on_progress)``."""

    def describe(self) -> Measurement:
        """Return what is known before anything is measured; all that is left if the gate fails."""

    def check(self) -> GateResult:
        """Run the gate; never called in a pass that is not gated."""

    def measure(self) -> None:
        """Measure; of an interleaved pass, one round."""

    def result(self) -> Measurement:
        """Return what was measured."""


class RoundSamples:
    """Every sample that a session took, by metric, round by round."""

    def __init__(self) -> None:
        self._rounds: list[dict[str, list[float]]] = []

    def add(self, samples: Mapping[str, Sequence[float]]) -> None:
        """Keep the samples of a round."""
        self._rounds.append({name: list(taken) for name, taken in samples.items()})

    def forget_last(self) -> None:
        """Forget the last round, which is to be taken again."""
        self._rounds.pop()

    def last(self) -> dict[str, float]:
        """Return the last round's number of each metric, the median of its samples."""
        return {name: float(np.median(taken)) for name, taken in self._rounds[-1].items()}

    def samples(self, name: str) -> list[float]:
        """Return every sample of a metric."""
        return [sample for taken in self._rounds for sample in taken[name]]

    def sizes(self, name: str) -> list[int]:
        """Return how many samples of a metric each round took."""
        return [len(taken[name]) for taken in self._rounds]

    def metrics(self) -> dict[str, Metric]:
        """Return every metric with its samples."""
        names = self._rounds[0] if self._rounds else ()
        return {name: sampled(name, self.samples(name), self.sizes(name)) for name in names}


class RoundSession(Session, Protocol):
    """A session of an interleaved pass; it keeps what it took in each round."""

    rounds: RoundSamples
