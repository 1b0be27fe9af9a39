"""The messages between the runner and a worker, typed at both ends; one JSON line each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from spion_bench.passes.session import Job
from spion_bench.records import GpuRound, Measurement
from spion_bench.records.cell import Stored


class JobRequest(Stored):
    """Measure this cell."""

    kind: Literal["job"] = "job"
    job: Job


class RoundRequest(Stored):
    """Measure one round; one that ``repeats`` replaces the last."""

    kind: Literal["round"] = "round"
    repeats: bool = False


class FinishRequest(Stored):
    """There are no more rounds: return what was measured."""

    kind: Literal["finish"] = "finish"


class EndRequest(Stored):
    """There are no more cells: exit."""

    kind: Literal["end"] = "end"


Request = Annotated[
    JobRequest | RoundRequest | FinishRequest | EndRequest, Field(discriminator="kind")
]


class Started(Stored):
    """The worker has a job; it comes before everything else about that job.

    Attributes:
        code: Hash of the sources that can change the cell's numbers, as the worker finds them.
        package: The folder that the worker's code was loaded from.
    """

    kind: Literal["started"] = "started"
    code: str
    package: str


class Ready(Stored):
    """The worker of an interleaved pass is prepared and waits for a round."""

    kind: Literal["ready"] = "ready"


class Measured(Stored):
    """A round is over; its number of each metric, and the GPU meanwhile if one was measured."""

    kind: Literal["measured"] = "measured"
    values: dict[str, float] = Field(default_factory=dict)
    gpu: GpuRound | None = None


class Progress(Stored):
    """How far training is; see ``train.ProgressEvent``."""

    kind: Literal["progress"] = "progress"
    phase: str
    step: int
    total_steps: int
    loss: float | None = None
    dev_accuracy: float | None = None
    message: str | None = None

    @classmethod
    def message_only(cls, message: str) -> Progress:
        """Return the news of a cell that trains nothing at the moment."""
        return cls(phase="", step=0, total_steps=0, message=message)


class Result(Stored):
    """The cell is finished."""

    kind: Literal["result"] = "result"
    measurement: Measurement


Event = Annotated[Started | Ready | Measured | Progress | Result, Field(discriminator="kind")]


class RoundStarted(Stored):
    """A worker takes its turn; the runner says so to the display."""

    number: int
    rounds: int


REQUESTS: TypeAdapter[JobRequest | RoundRequest | FinishRequest | EndRequest] = TypeAdapter(Request)
EVENTS: TypeAdapter[Started | Ready | Measured | Progress | Result] = TypeAdapter(Event)
