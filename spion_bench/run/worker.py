"""The child process of a cell: ``python -m spion_bench.run.worker EVENTS``.

Requests come as JSON lines on stdin; events leave as JSON lines on the file descriptor EVENTS, so
that nothing a library prints can end up among them. A worker of an
interleaved pass says ``ready``, measures one round per ``round`` request and gives its outcome at
``finish``; the others give their outcome right away. After an outcome comes another job, or
``end``. A worker whose runner is gone ends.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol, TextIO

import torch

from spion_bench.model.attention import UnsupportedError
from spion_bench.passes.accuracy import measure_accuracy
from spion_bench.passes.gate.oracle import GateResult
from spion_bench.passes.gate.session import run_gate
from spion_bench.passes.kernel.memory import KernelMemorySession
from spion_bench.passes.kernel.session import KernelSession
from spion_bench.passes.memory import measure_memory
from spion_bench.passes.speed import SpeedSession
from spion_bench.passes.steps import run_steps
from spion_bench.passes.subject import MissingDataError
from spion_bench.passes.training_step import NonFiniteStepError
from spion_bench.records import Status
from spion_bench.run.messages import Job, Outcome
from spion_bench.train import NonFiniteLossError, ProgressEvent

OUT_OF_MEMORY_TEXTS = ("can't allocate memory", "not enough memory", "out of memory")


class Session(Protocol):
    """An interleaved measurement."""

    def check(self) -> GateResult:
        """Run the gate."""

    def measure(self) -> None:
        """Take one round of samples."""

    def outcome(self) -> Outcome:
        """Return what was measured."""


def kernel_session(job: Job) -> Session:
    """Return the session of a kernel cell, which measures time or memory."""
    return KernelMemorySession(job) if job.cell.measures_memory else KernelSession(job)


SESSIONS: dict[str, Callable[[Job], Session]] = {"speed": SpeedSession, "kernel": kernel_session}


class Channel:
    """The worker's end of the pipes."""

    def __init__(self, requests: Iterable[bytes], events: TextIO) -> None:
        self._events = events
        self._requests: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._listen, args=(requests,), daemon=True).start()

    def receive(self) -> dict[str, Any]:
        """Wait for the next request."""
        return self._requests.get()

    def send(self, event: str, **content: object) -> None:
        """Send one event."""
        self._events.write(json.dumps({"event": event, **content}) + "\n")
        self._events.flush()

    def _listen(self, requests: Iterable[bytes]) -> None:
        for line in requests:
            self._requests.put(json.loads(line))
        os._exit(1)  # the runner is gone: stop in the middle of whatever runs


def run_job(job: Job, channel: Channel) -> Outcome:
    """Measure one cell; a failure that has a name becomes an outcome with that status."""
    torch.set_num_threads(job.cell.threads)
    try:
        if job.cell.pass_name in SESSIONS:
            return _run_session(SESSIONS[job.cell.pass_name](job), job, channel)
        if job.cell.pass_name == "gate":
            return run_gate(job)
        if job.cell.pass_name == "steps":
            return run_steps(job)
        if job.cell.pass_name == "memory":
            return measure_memory(job)
        return measure_accuracy(job, partial(_tell, channel))
    except (UnsupportedError, MissingDataError, NonFiniteLossError, NonFiniteStepError) as error:
        return Outcome(status=NAMED_FAILURES[type(error)], reason=str(error))
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            first_line = str(error).partition("\n")[0]
            return Outcome(status="oom", reason=first_line or "out of memory")
        raise


NAMED_FAILURES: dict[type[Exception], Status] = {
    UnsupportedError: "unsupported",
    MissingDataError: "skipped",
    NonFiniteLossError: "nan",
    NonFiniteStepError: "nan",
}


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether ``error`` says that memory ran out."""
    text = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        sign in text for sign in OUT_OF_MEMORY_TEXTS
    )


def _tell(channel: Channel, event: ProgressEvent) -> None:
    channel.send("progress", **vars(event))


def _run_session(session: Session, job: Job, channel: Channel) -> Outcome:
    gate: GateResult | None = None
    if job.check_first or job.cell.pass_name == "kernel":
        gate = session.check()
        if gate.reason is not None:
            return Outcome(status="gate_failed", reason=gate.reason, gate_errors=gate.errors)
    channel.send("ready")
    while channel.receive()["request"] == "round":
        session.measure()
        channel.send("measured")
    outcome = session.outcome()
    return outcome.model_copy(update={"gate_errors": gate.errors if gate else {}})


def main() -> None:
    """Serve jobs until there is no more."""
    # Unbuffered: a thread that waits in a buffered read would block the interpreter's end.
    with (
        open(0, "rb", buffering=0, closefd=False) as requests,
        os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as events,
    ):
        channel = Channel(requests, events)
        while "job" in (message := channel.receive()):
            outcome = run_job(Job.model_validate(message["job"]), channel)
            channel.send("outcome", outcome=outcome.model_dump(mode="json"))


if __name__ == "__main__":
    main()
