"""The gate pass: one method on one task's shape, forward and gradients."""

from __future__ import annotations

from spion_bench.passes.subject import prepare_subject
from spion_bench.run.messages import Job, Outcome


def run_gate(job: Job) -> Outcome:
    """Run the gate cell of ``job``."""
    subject = prepare_subject(job)
    gate = subject.check()
    return Outcome(
        status="gate_failed" if gate.reason else "ok",
        reason=gate.reason,
        task=subject.task_info(),
        method=subject.method_info(),
        gate_errors=gate.errors,
        pattern=subject.pattern_info(),
    )
