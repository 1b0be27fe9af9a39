"""The child process of a cell, started by ``run.child``.

Requests come as JSON lines on stdin; events leave as JSON lines on a file descriptor, and nothing
that a library prints can end up among them. A worker says which code it runs. One of an interleaved
pass then says ``ready``, measures one round per ``round`` request and gives its result at
``finish``; the others give their result right away. After a result comes another job, or ``end``. A
worker, and all that it started, is killed once its runner is gone.
"""

from __future__ import annotations

import os
import sys
from typing import cast

import torch

from spion_bench.measure.gpu_watch import (
    INTERVAL_S,
    LONG_INTERVAL_S,
    GpuWatch,
    NoGpu,
    torch_uuid,
)
from spion_bench.measure.parallelism import prove, shortage
from spion_bench.model.attention import UnavailableError, UnsupportedError
from spion_bench.native.library import BuildError
from spion_bench.passes.session import Job, RoundSession, Session
from spion_bench.passes.step.training_step import NonFiniteStepError
from spion_bench.passes.subject import MissingDataError
from spion_bench.records import KernelCell, Measurement, Parallelism, Status, TaskCell, TorchModes
from spion_bench.run.channel import Channel
from spion_bench.run.messages import (
    JobRequest,
    Measured,
    Progress,
    Ready,
    Result,
    RoundRequest,
    Started,
)
from spion_bench.suite.influence import PACKAGE
from spion_bench.suite.keys import code_of
from spion_bench.suite.method import load_object
from spion_bench.suite.metrics import single
from spion_bench.suite.passes import PASSES, Pass, measures_memory
from spion_bench.train import NonFiniteLossError, ProgressEvent

OUT_OF_MEMORY_TEXTS = (
    *("allocate memory", "not enough memory", "out of memory"),  # torch, the system's error 12
    "failed to map segment from shared object",  # a library that did not fit
)

NAMED_FAILURES: dict[type[Exception], Status] = {
    UnavailableError: "unsupported",
    UnsupportedError: "unsupported",
    BuildError: "unsupported",
    MissingDataError: "skipped",
    NonFiniteLossError: "nan",
    NonFiniteStepError: "nan",
}


def run_job(job: Job, channel: Channel) -> Measurement:
    """Measure one cell; a known kind of failure becomes a measurement with that status."""
    torch.set_num_threads(job.cell.threads)
    entry = PASSES[job.cell.pass_name]
    # cuDNN's trials may end differently from run to run; where nothing is timed they are left out.
    torch.backends.cudnn.benchmark = not entry.deterministic
    channel.send(Started(code=code_of(job.cell), package=str(PACKAGE)))

    def on_progress(event: ProgressEvent) -> None:
        channel.send(Progress(**vars(event)))

    try:
        had = _proven(job) if entry.interleaved and not measures_memory(job.cell) else None
        found = _run(load_object(entry.session)(job, on_progress), entry, job, channel)
        modes = TorchModes(
            cudnn_benchmark=torch.backends.cudnn.benchmark, deterministic=entry.deterministic
        )
        return found.model_copy(update={"parallelism": had, "modes": modes})
    except tuple(NAMED_FAILURES) as error:
        return Measurement(
            status=NAMED_FAILURES[type(error)],
            reason=str(error),
            is_final=not isinstance(error, UnavailableError | BuildError),
        )
    except Exception as error:
        if is_out_of_memory(error):
            first_line = str(error).partition("\n")[0]
            return Measurement(status="oom", reason=first_line or "out of memory")
        raise


def _proven(job: Job) -> Parallelism:
    """Return what this worker has to compute with.

    Raises:
        UnavailableError: If it is less than was asked, and the CPU is what is measured.
    """
    had = prove(job.cell.threads)
    if job.cell.device == "cpu" and (problem := shortage(had)):
        raise UnavailableError(problem)
    return had


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether ``error`` says that memory ran out."""
    text = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        sign in text for sign in OUT_OF_MEMORY_TEXTS
    )


def _run(session: Session, entry: Pass, job: Job, channel: Channel) -> Measurement:
    checks = (job.check_first or entry.checks_itself) and not job.is_second
    gate = session.check() if checks else None
    if gate is not None and gate.reason is not None:
        red = {"status": "gate_failed", "reason": gate.reason, "gate": gate.errors}
        return session.describe().model_copy(update=red)
    with _watch(job.cell) as watch:
        if entry.interleaved:
            _measure_rounds(cast(RoundSession, session), watch, channel)
        else:
            with watch.window():
                session.measure()
        found = session.result().model_copy(update={"gpu": watch.readings()})
        peak = watch.process_peak_bytes()
    if peak is not None:
        metrics = {**found.metrics, "process_peak_bytes": single("process_peak_bytes", peak)}
        found = found.model_copy(update={"metrics": metrics})
    return found if gate is None else found.model_copy(update={"gate": gate.errors})


def _watch(cell: TaskCell | KernelCell) -> GpuWatch | NoGpu:
    """Return what samples the GPU's state while a cell is measured."""
    entry = PASSES[cell.pass_name]
    if cell.device == "cpu" or not entry.samples_gpu:
        return NoGpu()
    interval = INTERVAL_S if entry.interleaved else LONG_INTERVAL_S
    return GpuWatch(torch_uuid(), interval, with_memory=measures_memory(cell))


def _measure_rounds(session: RoundSession, watch: GpuWatch | NoGpu, channel: Channel) -> None:
    channel.send(Ready())
    while isinstance(request := channel.receive(), RoundRequest):
        if request.repeats:
            session.rounds.forget_last()
            watch.forget_last()
        with watch.window():
            session.measure()
        channel.send(Measured(values=session.rounds.last(), gpu=watch.last_round()))


def main() -> None:
    """Serve jobs until none is left."""
    # Unbuffered: a thread that waits in a buffered read would block the interpreter's end.
    with (
        open(0, "rb", buffering=0, closefd=False) as requests,
        os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as events,
    ):
        channel = Channel(requests, events)
        while isinstance(request := channel.receive(), JobRequest):
            channel.send(Result(measurement=run_job(request.job, channel)))
