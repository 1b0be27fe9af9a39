import pytest

from spion_bench.records.names import UsageError
from spion_bench.suite.profile import CellGroup, load_profile
from spion_bench.suite.settings import resolve
from spion_bench.tasks import load_config


def group(**fields):
    return CellGroup(
        **{"passes": ("speed",), "task": "image", "methods": ("dense_sdpa",), **fields}
    )


def test_without_replacements_the_settings_are_the_tasks():
    config = load_config("image")
    settings = resolve(group(), "cpu")
    assert (settings.model, settings.train, settings.spion) == (
        config.model,
        config.train,
        config.spion,
    )


def test_replacements_apply_to_their_section_only():
    settings = resolve(
        group(model={"layers": 1}, train={"steps": 5}, spion={"block_size": 8}), "cpu"
    )
    config = load_config("image")
    assert settings.model == config.model.model_copy(update={"layers": 1})
    assert settings.train.steps == 5
    assert settings.spion.block_size == 8


def test_the_length_option_sets_the_models_length():
    assert resolve(group(), "cpu").model.max_length == 1024
    assert resolve(group(options={"length": 256}), "cpu").model.max_length == 256


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train": {"step": 5}}, "image: train: step"),
        ({"spion": {"quantile": 1.5}}, "image: spion: quantile.*got 1.5"),
        ({"model": {"layers": "two"}}, "image: model: layers"),
        ({"options": {"length": 64}}, "image: option length.*got 64"),
        ({"options": {"lenght": 256}}, "lenght.*length"),
    ],
)
def test_wrong_replacements_are_refused_by_name(fields, message):
    with pytest.raises(UsageError, match=message):
        resolve(group(**fields), "cpu")


def test_a_kernel_group_has_no_task_settings():
    kernel = CellGroup(passes=("kernel",), cases=("attention_256",))
    with pytest.raises(ValueError, match="a kernel group has no task"):
        resolve(kernel, "cpu")


def test_a_device_may_have_settings_of_its_own():
    smoke = [group for group in load_profile("smoke").cells if "accuracy" in group.passes]
    for device, block_size in (("cpu", 8), ("cuda", 16)):
        assert {resolve(group, device).spion.block_size for group in smoke} == {block_size}
