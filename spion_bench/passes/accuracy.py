"""The accuracy pass: train, generate the pattern, train on, test; and keep curves and patterns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from spion_bench.measure.memory import clear_refs_problem, peak_meter, present_bytes
from spion_bench.passes.subject import Subject, describe_patterns, prepare_subject
from spion_bench.records import Metric, TransitionInfo
from spion_bench.records.artifacts import write_artifact
from spion_bench.records.statistics import wilson_interval
from spion_bench.run.messages import Job, Outcome
from spion_bench.suite.metrics import single
from spion_bench.suite.plan import Cell
from spion_bench.tasks import load_config
from spion_bench.train import (
    RECIPES,
    ProgressEvent,
    TrainResult,
    TrainSettings,
    train,
)


def measure_accuracy(job: Job, progress: Callable[[ProgressEvent], None]) -> Outcome:
    """Train and test the accuracy cell of ``job``.

    Raises:
        NonFiniteLossError: If a training loss is NaN or infinite.
    """
    cell, out = job.cell, Path(job.out)
    subject = prepare_subject(job)
    gate = subject.check() if job.check_first else None
    if gate is not None and gate.reason is not None:
        return Outcome(status="gate_failed", reason=gate.reason, gate_errors=gate.errors)
    settings = subject.settings
    can_measure = cell.device != "cpu" or clear_refs_problem() is None
    result = train(
        subject.task,
        TrainSettings(settings.model, settings.train, settings.spion, cell.recipe),
        make_attention=subject.make_dense_attention,
        method=cell.method,
        variant=subject.method.variant,
        seed=cell.seed,
        device=cell.device,
        out_dir=out / "checkpoints" / cell.key,
        prefix_dir=out / "prefixes" / cell.code,
        progress=progress,
        peak_meter=peak_meter(cell.device, present_bytes(cell.device)) if can_measure else None,
    )
    artifact = out / "artifacts" / f"{cell.key}.npz"
    digest = write_artifact(artifact, result)
    patterns = result.patterns
    return Outcome(
        status="ok",
        task=subject.task_info(),
        method=subject.method_info(),
        metrics=result_metrics(result, subject),
        gate_errors=gate.errors if gate else {},
        pattern=describe_patterns(patterns, "trained in this cell") if patterns else None,
        transition=result.transition,
        settings={
            "recipe": cell.recipe,
            "steps": settings.train.steps,
            "batch_size": settings.train.batch_size,
            "learning_rate": settings.train.learning_rate,
            "memory_method": "peak above what the process held before training",
            "tested_phase": result.tested_phase,
            "tested_step": result.tested_step,
            "forked_from_prefix": result.forked_from_prefix,
        },
        deviations=deviations(cell, subject, result.transition),
        artifacts={artifact.name: digest},
    )


def result_metrics(result: TrainResult, subject: Subject) -> dict[str, Metric]:
    """Turn a training result into metrics; a phase that did not happen has none."""
    test = wilson_interval(result.test_correct, result.test_count)
    n_dev = len(subject.task.dev)
    dev = wilson_interval(round(result.dev_accuracy * n_dev), n_dev)
    values: dict[str, float | None] = {
        "final_train_loss": result.final_loss,
        "total_wall_s": sum(usage.wall_s for usage in result.phases.values()),
        "parameters": result.n_parameters,
        "model_bytes": result.model_bytes,
    }
    for phase, usage in result.phases.items():
        if usage.wall_s == 0:
            continue
        values[f"{phase}_wall_s"] = usage.wall_s
        values[f"{phase}_peak_bytes"] = usage.peak_bytes
        if phase != "pattern":
            values[f"{phase}_step_ms"] = usage.median_step_ms
    metrics = {
        "test_accuracy": single("test_accuracy", result.test_accuracy, low=test[0], high=test[1]),
        "dev_accuracy": single("dev_accuracy", result.dev_accuracy, low=dev[0], high=dev[1]),
    }
    known = {name: single(name, value) for name, value in values.items() if value is not None}
    return {**metrics, **known}


def deviations(cell: Cell, subject: Subject, transition: TransitionInfo | None) -> list[str]:
    """List in sentences how a run differs from the published one: settings, recipe, data."""
    config = load_config(subject.task.name)
    found = []
    for section in ("model", "train", "spion"):
        published = getattr(config, section).model_dump()
        used = getattr(subject.settings, section).model_dump()
        found += [
            f"{section}.{name} is {used[name]} instead of {published[name]}"
            for name in published
            if used[name] != published[name]
        ]
    recipe, published_recipe = vars(RECIPES[cell.recipe]), vars(RECIPES["published"])
    found += [
        f"recipe {cell.recipe}: {name} is {value} instead of {published_recipe[name]}"
        for name, value in recipe.items()
        if value != published_recipe[name]
    ]
    if subject.task.source.stand_in:
        found.append(f"the data is a stand-in: {subject.task.source.description}")
    if transition is not None and not transition.is_spion:
        found.append(f"not SPION: only {transition.sparse_step_share:.0%} of the steps were sparse")
    return found
