"""A task and settings small enough to train in a fraction of a second."""

import json
from pathlib import Path

import numpy as np
import torch

from baselines.dense.eager import DenseEager
from baselines.dense.sdpa import DenseSdpa
from spion_bench.model.attention import SpionAttention
from spion_bench.records import TaskSettings
from spion_bench.records.settings import MeasureSettings, ModelConfig, SpionConfig, TrainConfig
from spion_bench.tasks.task import DataSource, Split, TaskData
from spion_bench.train import TrainJob, train, train_prefix
from spion_bench.train.ranks import ALONE

GOLDEN = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[1] / "data" / "golden.json").read_text())[
        "cases"
    ]
}

LENGTH, VOCAB, CLASSES = 32, 12, 3


def split(n, seed, towers=False, length=LENGTH):
    rng = np.random.default_rng(seed)
    shape = (n, 2, length) if towers else (n, length)
    inputs = rng.integers(1, VOCAB, size=shape).astype(np.int16)
    labels = inputs.reshape(n, -1)[:, :8].sum(1).astype(np.int64) % CLASSES
    inputs[: n // 2, ..., 25:] = 0
    return Split(inputs, labels)


def tiny_task(n_train=20, n_dev=11, n_test=13, seed=0, towers=False, length=LENGTH):
    return TaskData(
        name="tiny",
        version="1",
        train=split(n_train, seed, towers, length),
        dev=split(n_dev, seed + 1, towers, length),
        test=split(n_test, seed + 2, towers, length),
        source=DataSource("generated", "1", "0" * 64, False, "random tokens"),
        vocab_size=VOCAB,
        n_classes=CLASSES,
        length=length,
        majority_share=1 / CLASSES,
    )


MODEL = {
    "layers": 2,
    "embedding_dim": 16,
    "hidden_dim": 16,
    "heads": 2,
    "head_dim": 8,
    "dropout": 0.1,
    "vocab_size": VOCAB,
    "max_length": LENGTH,
    "n_classes": CLASSES,
    "two_towers": False,
    "mask_attention": True,
    "mask_pooling": True,
}
TRAIN = {
    "steps": 12,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "warmup_steps": 3,
    "weight_decay": 0.01,
    "eval_every": 3,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_eps": 1e-6,
    "clip_value": 1.0,
    "latest_transition_step": 5,
    "eval_batch_size": 4,
}
SPION = {
    "block_size": 8,
    "quantile": 0.6,
    "density": 0.5,
    "filter_size": 3,
    "transition_threshold_percent": 15,
    "pruned": "zero_logit",
    "selection": "walk",
    "transition_mode": "joint",
}


def tiny_settings(recipe="corrected", **changes):
    """Settings with ``changes`` applied to whichever section has the key."""
    unknown = changes.keys() - MODEL.keys() - TRAIN.keys() - SPION.keys()
    assert not unknown, unknown
    model, training, spion = (
        {key: changes.get(key, value) for key, value in section.items()}
        for section in (MODEL, TRAIN, SPION)
    )
    return TaskSettings(
        options={},
        model=ModelConfig(**model),
        train=TrainConfig(**training),
        spion=SpionConfig(**spion),
        recipe=recipe,
        measure=MeasureSettings(),
    )


METHODS = {
    "dense_sdpa": (DenseSdpa, None),
    "dense_eager": (DenseEager, None),
    "spion_c": (lambda: SpionAttention("zero_logit"), "C"),
    "spion_f": (lambda: SpionAttention("zero_logit"), "F"),
    "spion_cf": (lambda: SpionAttention("zero_logit"), "CF"),
}


def tiny_job(settings=None, variant=None, task=None, seed=1, ranks=ALONE):
    return TrainJob(
        task or tiny_task(),
        settings or tiny_settings(),
        variant,
        seed,
        torch.device("cpu"),
        ranks=ranks,
    )


def run(method, out_dir, settings=None, task=None, **options):
    make, variant = METHODS[method]
    return train(
        tiny_job(settings, variant, task, options.pop("seed", 1), options.pop("ranks", ALONE)),
        make_attention=lambda layer: make(),
        method=method,
        out_dir=out_dir,
        **options,
    )


def train_tiny_prefix(folder, settings=None, *, variant=None, **options):
    """Train the dense phase that ``run`` continues with ``prefix=folder``."""
    job = tiny_job(settings, variant, ranks=options.pop("ranks", ALONE))
    return train_prefix(job, out_dir=folder, **options)


def losses(result):
    return [point.train_loss for point in result.curve]


def outcome(result):
    """Everything of a result that must be equal, bit for bit, between equal runs."""
    return {
        "curve": result.curve,
        "transition": result.transition,
        "patterns": result.patterns,
        "tested": (result.tested_phase, result.tested_step),
        "dev_accuracy": result.dev_accuracy,
        "test_correct": result.test_correct.tolist(),
        "final_loss": result.final_loss,
    }


def interrupt_at(step, phase=None):
    """Return a progress callback that presses Ctrl-C when ``step`` steps are done."""

    def progress(event):
        if event.step >= step and (phase is None or event.phase == phase):
            raise KeyboardInterrupt

    return progress
