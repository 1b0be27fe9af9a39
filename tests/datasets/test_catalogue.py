from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from spion_bench.datasets.catalogue import (
    DATA_SETS,
    DataSet,
    Unpacking,
    choose_parts,
    find_data_set,
)
from spion_bench.tasks.prepared import _RAW_PATHS, prepared_folder, raw_files
from spion_bench.tasks.task import task_names
from tests.datasets.test_fetch import one_file


def test_every_task_has_data_and_every_data_set_a_task() -> None:
    tasks = {task for data_set in DATA_SETS.values() for task in data_set.tasks}
    assert set(task_names()) <= tasks


@pytest.mark.parametrize("task", task_names())
def test_every_task_can_be_prepared(task: str, tmp_path: Path) -> None:
    folder = prepared_folder(task, "1", {}, tmp_path)
    assert folder.name.startswith(f"{task}-")
    assert raw_files(task, tmp_path / "nothing").keys() <= {
        path for path in _RAW_PATHS[task] if path.startswith("/")
    }


def test_what_is_fetched_is_what_the_tasks_look_for() -> None:
    for data_set in DATA_SETS.values():
        parts = data_set.unpacking.parts if data_set.unpacking else {}
        known = {path for task in data_set.tasks for path in _RAW_PATHS[task]}
        if not parts:
            assert {file.path for file in data_set.files} <= known
        for name, folder in parts.items():
            assert any(path.startswith(folder) for path in known), name


@pytest.mark.parametrize("data_set", DATA_SETS.values(), ids=list(DATA_SETS))
def test_paths_stay_inside_the_data_folder(data_set: DataSet) -> None:
    parts = data_set.unpacking.parts.values() if data_set.unpacking else ()
    for path in [*(file.path for file in data_set.files), *parts]:
        assert not path.startswith("/")
        assert ".." not in path.split("/")


def test_unpacking_has_one_archive() -> None:
    unpacked = [data_set for data_set in DATA_SETS.values() if data_set.unpacking]
    assert all(len(data_set.files) == 1 for data_set in unpacked)


def test_unknown_names_are_told_with_a_guess() -> None:
    with pytest.raises(ValueError, match="did you mean 'cifar10'"):
        find_data_set("cifar-10")
    with pytest.raises(ValueError, match="did you mean 'listops'"):
        choose_parts(DATA_SETS["lra-release"], ("listop",))
    with pytest.raises(ValueError, match="it is not unpacked"):
        choose_parts(DATA_SETS["cifar10"], ("train",))


def test_no_part_named_means_all() -> None:
    data_set = dataclasses.replace(one_file(), unpacking=Unpacking({"a": "x/a", "b": "x/b"}, 1, 1))
    assert choose_parts(data_set, ()) == {"a": "x/a", "b": "x/b"}
