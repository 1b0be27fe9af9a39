"""The steps pass: the gate on the task's shape, then two training steps; nothing is timed.

Two steps and not one: the second starts from gradients, optimiser state and buffers that the first
left behind.
"""

from __future__ import annotations

from spion_bench.model.attention import UnsupportedError
from spion_bench.passes.subject import check_training, prepare_subject
from spion_bench.passes.training_step import TrainingStep
from spion_bench.run.messages import Job, Outcome
from spion_bench.suite.metrics import single

STEPS = 2


def run_steps(job: Job) -> Outcome:
    """Run the steps cell of ``job``.

    A method without a backward pass on the device passes the gate forward only and is then
    ``unsupported``.

    Raises:
        NonFiniteStepError: If a loss is not finite.
    """
    subject = prepare_subject(job)
    gate = subject.check()
    outcome = Outcome(
        status="ok",
        task=subject.task_info(),
        method=subject.method_info(),
        gate_errors=gate.errors,
        pattern=subject.pattern_info(),
        settings={"batch_size": job.cell.measure.batch_size, "steps": STEPS, "isolation": "warm"},
    )
    if gate.reason is not None:
        return outcome.model_copy(update={"status": "gate_failed", "reason": gate.reason})
    try:
        check_training(job.cell, subject.method, subject.example)
    except UnsupportedError as error:
        reason = f"{error}; its forward pass passed the gate"
        return outcome.model_copy(update={"status": "unsupported", "reason": reason})
    step = TrainingStep(subject)
    losses = [step.run() for _ in range(STEPS)]
    metrics = {
        "final_train_loss": single("final_train_loss", losses[-1]),
        "parameters": single("parameters", step.model.parameter_count()),
    }
    return outcome.model_copy(update={"metrics": metrics})
