import pytest
from pydantic import ValidationError

from spion_bench.tasks import TaskConfig, load_config


def test_settings_are_immutable():
    with pytest.raises(ValidationError, match="frozen"):
        load_config("image").train.steps = 1


def test_copy_with_updates_keeps_the_rest_and_is_validated():
    config = load_config("image")
    train = config.train.model_copy(update={"steps": 20})
    copied = config.model_copy(update={"train": train})
    assert isinstance(copied, TaskConfig)
    assert copied.train.steps == 20
    assert copied.train.batch_size == config.train.batch_size
    assert copied.model == config.model
    assert config.train.steps == 10000
    with pytest.raises(ValidationError, match="stepps"):
        config.train.model_copy(update={"stepps": 20})
    with pytest.raises(ValidationError, match="integer"):
        config.train.model_copy(update={"steps": "20"})
