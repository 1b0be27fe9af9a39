"""What travels between the runner and a worker: a job one way, an outcome the other."""

from __future__ import annotations

from pydantic import Field

from spion_bench.records import (
    MethodInfo,
    Metric,
    PatternInfo,
    Status,
    TaskInfo,
    TransitionInfo,
)
from spion_bench.suite.plan import Cell
from spion_bench.suite.profile import Frozen


class Job(Frozen):
    """What a worker is asked to do.

    Attributes:
        cell: The cell to measure.
        out: Folder of the run's results.
        check_first: Whether no gate cell vouches for the method, so that the worker checks it.
        pattern_artifact: Artifact of an accuracy cell whose patterns to use, or None.
        pattern_cell: Key of that accuracy cell.
    """

    cell: Cell
    out: str
    check_first: bool = False
    pattern_artifact: str | None = None
    pattern_cell: str | None = None


class Outcome(Frozen):
    """What a cell gave; the runner turns it into a record. See ``records.Record``."""

    status: Status
    reason: str | None = None
    task: TaskInfo | None = None
    method: MethodInfo | None = None
    metrics: dict[str, Metric] = Field(default_factory=dict)
    gate_errors: dict[str, float] = Field(default_factory=dict)
    pattern: PatternInfo | None = None
    transition: TransitionInfo | None = None
    settings: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    deviations: list[str] = Field(default_factory=list)
    artifacts: dict[str, str] = Field(default_factory=dict)
