from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from spion_bench.tasks import load_config, task_names
from spion_bench.tasks.config import TaskConfig, read_config

TASKS = Path(__file__).parents[2] / "spion_bench" / "tasks"

# config.py of the SPION code, and the constants of its training scripts.
MODEL = ("layers", "vocab_size", "max_length", "n_classes")
TRAIN = ("steps", "batch_size", "learning_rate", "warmup_steps", "eval_every")
SPION = ("block_size", "quantile", "density")


def published(model, train, spion, **more):
    """Return settings by section; ``more`` are the model's."""
    return {
        "model": {**dict(zip(MODEL, model, strict=True)), **more},
        "train": dict(zip(TRAIN, train, strict=True)),
        "spion": dict(zip(SPION, spion, strict=True)),
    }


PUBLISHED = {
    "image": published((2, 256, 1024, 10), (10000, 128, 1e-4, 175, 500), (32, 0.96, 0.04)),
    "listops": published((4, 32, 2048, 10), (30000, 256, 7e-4, 1000, 500), (64, 0.98, 0.04)),
    "pathfinder": published((2, 512, 1024, 2), (50000, 256, 3e-4, 312, 500), (32, 0.96, 0.05)),
    "retrieval": published(
        (2, 512, 4096, 2),
        (40000, 32, 3e-4, 800, 200),
        (64, 0.99, 0.021),
        two_towers=True,
        pair_features="products",
    ),
    "text": published((2, 512, 4096, 2), (30000, 32, 1e-4, 80, 200), (64, 0.99, 0.03)),
}
COMMON = {
    "model": {
        "embedding_dim": 64,
        "hidden_dim": 128,
        "heads": 2,
        "head_dim": 32,
        "dropout": 0.1,
        "two_towers": False,
    },
    "train": {
        "weight_decay": 0.0,
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_eps": 1e-6,
        "clip_value": 1.0,
    },
    "spion": {
        "filter_size": 31,
        "transition_threshold_percent": 15,
        "pruned": "zero_logit",
        "selection": "walk",
        "transition_mode": "joint",
    },
}


def edited(tmp_path: Path, old: str, new: str) -> Path:
    text = (TASKS / "listops" / "config.toml").read_text()
    assert text.count(old) == 1
    path = tmp_path / "edited.toml"
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize("name", task_names())
def test_published_values(name: str) -> None:
    config = load_config(name)
    for section in ("model", "train", "spion"):
        expected = COMMON[section] | PUBLISHED[name][section]
        found = getattr(config, section).model_dump()
        assert {key: found[key] for key in expected} == expected


def test_masks_differ_between_the_tasks() -> None:
    masks = {name: load_config(name).model for name in task_names()}
    assert {name for name, model in masks.items() if not model.mask_attention} == {
        "image",
        "pathfinder",
    }
    assert all(model.mask_pooling for model in masks.values())


@pytest.mark.parametrize("name", task_names())
def test_every_value_has_an_origin_and_choices_say_so(name: str) -> None:
    config = load_config(name)
    keys = {
        f"{section}.{key}"
        for section in ("model", "train", "spion")
        for key in getattr(config, section).model_dump(exclude_unset=True)
    }
    assert ("model.pair_features" in keys) == config.model.two_towers
    assert set(config.origins) == keys
    choices = {k for k, origin in config.origins.items() if origin.startswith("spion_bench choice")}
    assert choices == {"train.latest_transition_step", "train.eval_batch_size"}
    assert all(config.origins[k].startswith("SPION code: ") for k in keys - choices)


@pytest.mark.parametrize("name", task_names())
def test_blocks_tile_the_sequence_and_the_dense_phase_ends_in_time(name: str) -> None:
    config = load_config(name)
    assert config.name == name
    assert config.model.max_length % config.spion.block_size == 0
    assert config.train.latest_transition_step <= config.train.steps // 2
    assert config.train.warmup_steps < config.train.steps


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("layers = { value = 4,", "layers = { value = '4',", "model.layers: .*integer, got '4'"),
        ("layers = { value = 4,", "layers = { value = 4.0,", "model.layers: .*integer, got 4.0"),
        ("layers = { value = 4,", "layers = { value = true,", "model.layers: .*integer, got True"),
        ("layers = { value = 4,", "layers = { value = 0,", "model.layers: .*greater than 0, got 0"),
        ("layers = {", "lairs = {", "model.layers: is missing; model.lairs: is unknown"),
        ('"zero_logit"', '"zero"', "spion.pruned: .*'minus_inf' or 'zero_logit', got 'zero'"),
        ("value = 0.1,", "value = 1.0,", "model.dropout: .*less than 1, got 1.0"),
        ('version = "1"', "version = 1", "version: .*string, got 1"),
        ('name = "listops"', 'title = "listops"', "name: is missing; title: is unknown"),
        ("[spion]", "[spoin]", r"spion: expected a table \[spion\], got None"),
        (
            'layers = { value = 4, origin = "published" }',
            "layers = 4",
            r"model.layers: expected { value = \.\.\., origin = \"key\" }, got 4",
        ),
        (
            'layers = { value = 4, origin = "published" }',
            "layers = { value = 4 }",
            "model.layers: expected",
        ),
        (
            'layers = { value = 4, origin = "published" }',
            'layers = { value = 4, origin = "paper" }',
            r"model.layers: origin 'paper' is not in \[origins\]; add a sentence",
        ),
        ("[origins]", "[origins]\nspare = 'x'", "origins.spare: no value names this origin"),
        ("[model]", "[model", "not a TOML file"),
    ],
)
def test_faulty_files_name_file_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"edited\.toml: .*{message}"):
        read_config(edited(tmp_path, old, new))


def test_a_file_is_read_once_and_cannot_be_changed() -> None:
    config = load_config("image")
    assert load_config("image") is config
    with pytest.raises(ValidationError, match="frozen"):
        config.train = config.train  # type: ignore[misc]
    with pytest.raises(TypeError, match="does not support item assignment"):
        config.origins["model.layers"] = "other"  # type: ignore[index]


def test_a_configuration_survives_json() -> None:
    config = load_config("image")
    dumped = config.model_dump()
    assert dumped["origins"] == dict(config.origins)
    assert TaskConfig.model_validate_json(config.model_dump_json()) == config
    shorter = config.model_copy(update={"train": config.train.model_copy(update={"steps": 20})})
    assert (shorter.train.steps, shorter.origins) == (20, config.origins)
