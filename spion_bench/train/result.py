"""The outcome of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spion_bench.block_pattern import BlockPattern
from spion_bench.records import TransitionInfo
from spion_bench.train.evaluate import evaluate
from spion_bench.train.phases import Run
from spion_bench.train.state import LayerStages, TrainingPhase, TrainState
from spion_bench.train.usage import Phase, PhaseUsage

MIN_SPARSE_SHARE = 0.4


@dataclass(frozen=True)
class CurvePoint:
    """One training step; the dev values are set where the step was followed by an evaluation."""

    step: int
    phase: TrainingPhase
    train_loss: float
    dev_loss: float | None
    dev_accuracy: float | None
    lr: float


@dataclass(frozen=True)
class TrainResult:
    """What a run produced.

    Attributes:
        phases: What each phase cost; a dense run has only ``"dense"``.
        transition: When and why the dense phase ended; None for a dense run.
        patterns: The layers' patterns; None unless every layer has one.
        stages: How they came about; None unless every layer has a pattern.
        curve: Every training step.
        tested_phase: The phase whose best weights were tested: ``"sparse"`` for a SPION run that
            left the dense phase, else ``"dense"``.
        tested_step: The step after which those weights were taken.
        dev_accuracy: Their accuracy on the full dev set.
        test_accuracy: Their accuracy on the full test set.
        test_correct: Which test examples were answered correctly, bool ``[n]``.
        n_parameters: Trained numbers of the model.
        model_bytes: Bytes of its weights and buffers.
        final_loss: Training loss of the last step.
        forked_from_prefix: Whether the dense phase was taken from a shared prefix; its cost is
            then the one measured when the prefix was trained.
    """

    phases: dict[Phase, PhaseUsage]
    transition: TransitionInfo | None
    patterns: list[BlockPattern] | None
    stages: list[LayerStages] | None
    curve: list[CurvePoint]
    tested_phase: TrainingPhase
    tested_step: int
    dev_accuracy: float
    test_accuracy: float
    test_correct: NDArray[np.bool_]
    n_parameters: int
    model_bytes: int
    final_loss: float
    forked_from_prefix: bool


def conclude(run: Run) -> TrainResult:
    """Test the best weights of the phase that counts, and put the result together."""
    state = run.state
    tested_phase: TrainingPhase = "sparse" if "sparse" in state.best else "dense"
    best = state.best[tested_phase]
    run.use_patterns(state.patterns_at(best.point.step))
    run.model.load_state_dict(best.weights)
    test, batch_size = run.job.task.test, run.job.settings.train.eval_batch_size
    _, correct = evaluate(run.model, test, batch_size, run.job.arithmetic, run.job.ranks)
    is_spion_method = run.job.variant is not None
    phases: tuple[Phase, ...] = ("dense", "pattern", "sparse") if is_spion_method else ("dense",)
    patterns = [pattern for pattern in state.patterns if pattern is not None]
    is_sparse = state.phase == "sparse"
    return TrainResult(
        phases={phase: state.usage[phase] for phase in phases},
        transition=_transition(run) if is_spion_method else None,
        patterns=patterns if is_sparse else None,
        stages=[stage for stage in state.stages if stage is not None] if is_sparse else None,
        curve=_curve(state),
        tested_phase=tested_phase,
        tested_step=best.point.step,
        dev_accuracy=best.point.accuracy,
        test_accuracy=int(correct.sum()) / len(test),
        test_correct=correct,
        n_parameters=run.model.parameter_count(),
        model_bytes=run.model.size_bytes(),
        final_loss=state.train_loss[-1],
        forked_from_prefix=state.forked_from_prefix,
    )


def _transition(run: Run) -> TransitionInfo:
    state = run.state
    share = state.usage["sparse"].steps / run.job.settings.train.steps
    left_by: Literal["criterion", "forced"] = "forced" if state.forced else "criterion"
    return TransitionInfo(
        step=state.transition_step,
        reason="never" if state.transition_step is None else left_by,
        layer_steps=state.layer_steps,
        change_percent=[entry["change_percent"] for entry in state.monitor.log],
        sparse_step_share=share,
        is_spion=share >= MIN_SPARSE_SHARE,
    )


def _curve(state: TrainState) -> list[CurvePoint]:
    evaluations = {point.step: point for point in state.dev}
    transition = state.transition_step
    points = []
    for step, (loss, lr) in enumerate(zip(state.train_loss, state.lr, strict=True), start=1):
        dev = evaluations.get(step)
        points.append(
            CurvePoint(
                step=step,
                phase="dense" if transition is None or step <= transition else "sparse",
                train_loss=loss,
                dev_loss=None if dev is None else dev.loss,
                dev_accuracy=None if dev is None else dev.accuracy,
                lr=lr,
            )
        )
    return points
