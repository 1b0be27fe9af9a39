"""The accuracy pass: train, generate the pattern, train on, test; and keep curves and patterns."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spion_bench.passes.prefix import memory_method, training_arguments
from spion_bench.passes.ranks import TrainingSession
from spion_bench.passes.session import Job, OnProgress
from spion_bench.passes.subject import Subject
from spion_bench.passes.synthetic import describe_patterns
from spion_bench.pattern.placement import overlap
from spion_bench.records import ChosenWeights, Measurement, Metric, PatternInfo, TransitionInfo
from spion_bench.records.artifacts import Artifact, Curve, Layer, write_artifact
from spion_bench.records.statistics import wilson_interval
from spion_bench.suite.metrics import single
from spion_bench.tasks import load_config
from spion_bench.train import RECIPES, TrainResult, train
from spion_bench.train.ranks import Ranks


class AccuracySession(TrainingSession):
    """A method on a task, trained with one seed; it continues its parent where it has one."""

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        super().__init__(job, on_progress)
        self._out = Path(job.out)
        self._trained: TrainResult | None = None

    def describe(self) -> Measurement:
        """Return what is known before training."""
        return super().describe().model_copy(update={"pattern": None})

    def train(self, ranks: Ranks) -> None:
        """Train and test, or continue interrupted training."""
        cell = self._subject.cell
        self._trained = train(
            **training_arguments(self._subject, ranks, self._on_progress),
            make_attention=self._subject.make_dense_attention,
            method=cell.method.name,
            out_dir=self._out / "checkpoints" / cell.key,
            prefix=None if cell.parent is None else self._out / "artifacts" / cell.parent,
        )

    def result(self) -> Measurement:
        """Store curves and patterns, and return what was measured."""
        if self._trained is None:
            raise RuntimeError("nothing was trained; call measure() first")
        subject, trained = self._subject, self._trained
        path = self._out / "artifacts" / f"{subject.cell.key}.npz"
        digest = write_artifact(path, make_artifact(trained))
        found = {
            "metrics": result_metrics(trained, subject),
            "pattern": _compared_patterns(trained),
            "transition": trained.transition,
            "tested": ChosenWeights(phase=trained.tested_phase, step=trained.tested_step),
            "memory_method": memory_method(subject.cell),
            "deviations": deviations(subject, trained.transition),
            "artifacts": {path.name: digest},
        }
        return self.describe().model_copy(update=found)


def _compared_patterns(trained: TrainResult) -> PatternInfo | None:
    """Describe learned patterns, next to others of as many blocks on the same maps."""
    if trained.patterns is None or trained.stages is None:
        return None
    info = describe_patterns(trained.patterns, "trained in this cell")
    layers = zip(trained.patterns, trained.stages, strict=True)
    compared = [found for p, stage in layers if (found := overlap(p, stage.map)) is not None]
    if len(compared) < len(trained.patterns):
        return info
    columns = {
        "window_overlap": [each.window for each in compared],
        "top_mass_overlap": [each.top_mass for each in compared],
        "mass_kept": [each.mass_kept for each in compared],
        "window_mass": [each.window_mass for each in compared],
        "top_mass": [each.most_mass for each in compared],
    }
    return info.model_copy(update=columns)


def make_artifact(trained: TrainResult) -> Artifact:
    """Return the curves of a training run, and the patterns of one of SPION."""
    curve = trained.curve
    evaluated = [point for point in curve if point.dev_accuracy is not None]
    lines = Curve(
        step=np.array([point.step for point in curve], dtype=np.int64),
        sparse=np.array([point.phase == "sparse" for point in curve], dtype=np.bool_),
        train_loss=np.array([point.train_loss for point in curve], dtype=np.float64),
        dev_step=np.array([point.step for point in evaluated], dtype=np.int64),
        dev_accuracy=np.array([p.dev_accuracy for p in evaluated], dtype=np.float64),
        dev_loss=np.array([p.dev_loss for p in evaluated], dtype=np.float64),
    )
    patterns, stages = trained.patterns or [], trained.stages or []
    layers = [
        Layer(
            attention=stage.map.numpy(),
            pooled=stage.pooled.float().cpu().numpy(),
            selected=stage.mask.cpu().numpy(),
            crow_indices=pattern.crow_indices.cpu().numpy(),
            col_indices=pattern.col_indices.cpu().numpy(),
        )
        for pattern, stage in zip(patterns, stages, strict=True)
    ]
    block_size = patterns[0].block_size if patterns else None
    return Artifact(lines, tuple(layers), block_size, trained.test_correct)


def result_metrics(result: TrainResult, subject: Subject) -> dict[str, Metric]:
    """Turn a training result into metrics; a phase that did not happen has none."""
    test = wilson_interval(int(result.test_correct.sum()), len(result.test_correct))
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


def deviations(subject: Subject, transition: TransitionInfo | None) -> list[str]:
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
    recipe, published_recipe = vars(RECIPES[subject.settings.recipe]), vars(RECIPES["published"])
    found += [
        f"recipe {subject.settings.recipe}: {name} is {value} instead of {published_recipe[name]}"
        for name, value in recipe.items()
        if value != published_recipe[name]
    ]
    if subject.task.source.stand_in:
        found.append(f"the data is a stand-in: {subject.task.source.description}")
    if transition is not None and not transition.is_spion:
        found.append(f"not SPION: only {transition.sparse_step_share:.0%} of the steps were sparse")
    return found
