from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from spion_bench.records.settings import Settings
from spion_bench.tasks import image, load_config, load_spec, load_task, task_names
from spion_bench.tasks.task import DataSource, Split, TaskSplits, splits_sha256

TASKS = Path(__file__).parents[2] / "spion_bench" / "tasks"
SMALL: dict[str, dict[str, Any]] = {
    "image": {"source": "digits", "length": 256},
    "listops": {"length": 64, "n_train": 50, "n_dev": 20, "n_test": 30},
    "pathfinder": {"length": 1024, "n_train": 8, "n_dev": 4, "n_test": 4},
    "retrieval": {"length": 64, "n_train": 50, "n_dev": 20, "n_test": 30},
    "text": {"length": 64, "n_train": 50, "n_dev": 20, "n_test": 30},
}


def test_every_folder_with_settings_is_a_task_and_every_task_is_tested_here() -> None:
    folders = sorted(path.parent.name for path in TASKS.glob("*/config.toml"))
    assert task_names() == folders == sorted(SMALL)
    for name in SMALL:
        assert (TASKS.parents[1] / "tests" / "tasks" / name / "test_load.py").is_file()


@pytest.mark.parametrize("name", SMALL)
def test_declarations_agree_with_the_options(name: str) -> None:
    spec = load_spec(name)
    assert spec.name == name
    choices = spec.options.model_fields["source"].annotation
    assert ["auto", *(source.name for source in spec.sources)] == list(get_args(choices))
    assert spec.sources[-1].find(None), "the last source is always there"
    for source in spec.sources[:-1]:
        assert source.how_to_get.format(folder="FOLDER") != source.how_to_get
        assert source.raw_files


@pytest.mark.parametrize("name", SMALL)
def test_stand_ins_are_declared(name: str) -> None:
    spec = load_spec(name)
    counts = {"n_train": 2, "n_dev": 2, "n_test": 2}
    source = load_task(name, options={**counts, "source": spec.sources[-1].name}).source
    assert (source.name, source.stand_in) == (spec.sources[-1].name, spec.sources[-1].stand_in)


@pytest.mark.parametrize("name", SMALL)
def test_loaded_tasks_keep_the_promises_of_task_data(name: str) -> None:
    config = load_config(name)
    data = load_task(name, options=SMALL[name])
    assert (data.name, data.version) == (name, config.version)
    assert (data.vocab_size, data.n_classes) == (config.model.vocab_size, config.model.n_classes)
    assert data.length == SMALL[name]["length"]
    for split in (data.train, data.dev, data.test):
        towers = (2,) if config.model.two_towers else ()
        assert split.inputs.shape == (len(split), *towers, data.length)
        assert split.inputs.dtype in (np.int16, np.int32)
        assert split.labels.dtype == np.int64
        assert split.inputs.flags.writeable  # torch warns about what is not
    counts = np.unique(data.test.labels, return_counts=True)[1]
    assert data.majority_share == counts.max() / counts.sum()
    assert len(data.source.fingerprint) == 64


def test_length_follows_the_data_for_two_towers(monkeypatch: pytest.MonkeyPatch) -> None:
    split = Split(np.ones((3, 2, 16), np.int16), np.array([0, 1, 1]))
    replace_image_loader(monkeypatch, split)
    data = load_task("image")
    assert data.length == 16
    assert data.majority_share == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("token", "label", "message"),
    [
        (256, 0, r"task image: token id: expected values from 0 to 255, got 256\.\.256"),
        (-1, 0, r"task image: token id: expected values from 0 to 255, got -1\.\.-1"),
        (0, 10, r"task image: label: expected values from 0 to 9, got 10\.\.10"),
    ],
)
def test_values_out_of_range_are_an_error(
    monkeypatch: pytest.MonkeyPatch, token: int, label: int, message: str
) -> None:
    split = Split(np.full((2, 16), token, np.int16), np.array([label, label]))
    replace_image_loader(monkeypatch, split)
    with pytest.raises(ValueError, match=message):
        load_task("image")


def test_empty_split_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_image_loader(monkeypatch, Split(np.zeros((0, 16), np.int16), np.zeros(0, np.int64)))
    with pytest.raises(ValueError, match="got no examples"):
        load_task("image")


def replace_image_loader(monkeypatch: pytest.MonkeyPatch, split: Split) -> None:
    def read(data_dir: Path | None, options: Settings) -> TaskSplits:
        return TaskSplits(split, split, split, DataSource("fake", "1", "0" * 64, True, "fake"))

    monkeypatch.setattr(image, "SPEC", replace(image.SPEC, read=read))


@pytest.mark.parametrize("get", [load_config, load_spec, load_task])
def test_unknown_task_suggests_the_nearest(get: Any) -> None:
    message = "unknown task 'lisops': did you mean 'listops'.*known: image, listops, pathfinder"
    with pytest.raises(ValueError, match=message):
        get("lisops")


def test_unknown_option_suggests_the_nearest_and_lists_all() -> None:
    message = "unknown listops option 'lenght': did you mean 'length'.*source, tokens"
    with pytest.raises(ValueError, match=message):
        load_task("listops", options={"lenght": 256})


def test_option_of_wrong_type_is_named() -> None:
    with pytest.raises(ValueError, match=r"task listops: option n_train: .*integer, got '9'"):
        load_task("listops", options={"n_train": "9"})


def test_split_needs_a_label_for_each_input() -> None:
    with pytest.raises(ValueError, match="labels: expected one for each of the 3 inputs, got 2"):
        Split(np.zeros((3, 4), np.int16), np.zeros(2, np.int64))


def test_first_keeps_inputs_and_labels_together() -> None:
    split = Split(np.arange(12, dtype=np.int16).reshape(3, 4), np.array([5, 6, 7]))
    assert split.first(2).inputs.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert split.first(2).labels.tolist() == [5, 6]
    assert len(split.first(None)) == len(split.first(9)) == 3


def test_fingerprint_depends_on_values_shapes_types_and_order() -> None:
    def split(inputs: list[list[int]], labels: list[int], dtype: type = np.int16) -> Split:
        return Split(np.array(inputs, dtype), np.array(labels))

    base = split([[1, 2], [3, 4]], [0, 1])
    others = [
        splits_sha256(split([[1, 2], [3, 5]], [0, 1])),
        splits_sha256(split([[1, 2], [3, 4]], [0, 2])),
        splits_sha256(split([[1, 2, 3, 4], [0, 0, 0, 0]], [0, 1])),
        splits_sha256(split([[1, 2], [3, 4]], [0, 1], np.int32)),
        splits_sha256(split([[3, 4], [1, 2]], [1, 0])),
        splits_sha256(base, base),
    ]
    assert splits_sha256(base) == splits_sha256(split([[1, 2], [3, 4]], [0, 1]))
    assert len({splits_sha256(base), *others}) == len(others) + 1


def test_tasks_import_neither_torch_nor_scikit_learn_until_digits_are_loaded() -> None:
    code = (
        "import sys, spion_bench.tasks as t; t.load_config('image'); "
        "[t.load_task(n, options=dict(length=64, n_train=2, n_dev=2, n_test=2)) "
        "for n in ('listops', 'retrieval', 'text')]; "
        "[t.load_spec(n) for n in t.task_names()]; "
        "print({'torch', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "set()\n", "")


def test_listing_tasks_imports_none_of_them() -> None:
    code = (
        "import sys, spion_bench.tasks as t; t.load_config('image'); names = t.task_names(); "
        "print([n for n in names if f'spion_bench.tasks.{n}' in sys.modules], 'PIL' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[] False\n", "")
