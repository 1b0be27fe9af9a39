"""The memory pass: peak memory of one training step, in a process that does nothing else.

The number is the peak resident size during the step above the resident size before it, with
weights and optimiser state in place and gradients freed: activations, gradients and scratch
memory. Three steps are framed one by one after a warm-up step; that they agree is the check that
neither heap reuse nor a lazily loaded library is in the number.
"""

from __future__ import annotations

from spion_bench.measure.memory import (
    clear_refs_problem,
    peak_meter,
    present_bytes,
    release_free_heap,
)
from spion_bench.model.attention import UnsupportedError
from spion_bench.passes.subject import prepare_subject
from spion_bench.passes.training_step import TrainingStep
from spion_bench.run.messages import Job, Outcome
from spion_bench.suite.metrics import sampled, single

FRAMED_STEPS = 3


def measure_memory(job: Job) -> Outcome:
    """Measure the memory cell of ``job``.

    Raises:
        UnsupportedError: If this system does not let a process reset its high-water mark.
    """
    subject = prepare_subject(job)
    on_cpu = job.cell.device == "cpu"
    if on_cpu and (problem := clear_refs_problem()):
        raise UnsupportedError(problem)
    gate = subject.check() if job.check_first else None
    if gate is not None and gate.reason is not None:
        return Outcome(status="gate_failed", reason=gate.reason, gate_errors=gate.errors)
    step = TrainingStep(subject)
    step.run()
    peaks = [_framed_step(step, job.cell.device) for _ in range(FRAMED_STEPS)]
    return Outcome(
        status="ok",
        task=subject.task_info(),
        method=subject.method_info(),
        metrics={
            "train_step_peak_bytes": sampled("train_step_peak_bytes", peaks),
            "parameters": single("parameters", step.model.parameter_count()),
            "model_bytes": single("model_bytes", step.model.size_bytes()),
        },
        gate_errors=gate.errors if gate else {},
        pattern=subject.pattern_info(),
        settings={
            "batch_size": job.cell.measure.batch_size,
            "memory_method": (
                "VmHWM above the resident size before the step, malloc tuned to free at once"
                if on_cpu
                else "torch CUDA allocator, above the bytes allocated before the step"
            ),
        },
    )


def _framed_step(step: TrainingStep, device: str) -> float:
    step.forget_gradients()
    release_free_heap()
    meter = peak_meter(device, present_bytes(device))
    meter.reset()
    step.run()
    return float(meter.peak_bytes())
