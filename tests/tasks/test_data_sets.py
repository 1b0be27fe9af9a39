"""What can be fetched for the tasks fits what they read."""

from __future__ import annotations

from pathlib import Path

import pytest

from spion_bench.datasets.data_set import DataSet
from spion_bench.tasks import data_sets, load_spec, task_names
from spion_bench.tasks.prepared import prepared_folder, raw_files
from spion_bench.tasks.registry import readers_of

DATA_SETS = data_sets()


def test_every_task_can_be_fetched_and_every_data_set_is_read() -> None:
    assert all(load_spec(name).data_sets for name in task_names())
    assert readers_of(DATA_SETS["lra-release"]) == ["listops", "pathfinder", "retrieval"]
    assert readers_of(DATA_SETS["cifar10"]) == ["image"]


def test_names_are_unique() -> None:
    declared = {d.name: d for n in task_names() for d in load_spec(n).data_sets}
    assert all(d == declared[d.name] for n in task_names() for d in load_spec(n).data_sets)


@pytest.mark.parametrize("task", task_names())
def test_every_task_can_be_prepared(task: str, tmp_path: Path) -> None:
    folder = prepared_folder(task, "1", {}, tmp_path)
    assert folder.name.startswith(f"{task}-")
    assert raw_files(task, tmp_path / "nothing").keys() <= {
        path for path in load_spec(task).raw_files if path.startswith("/")
    }


@pytest.mark.parametrize("task", task_names())
def test_what_is_fetched_is_what_the_task_looks_for(task: str) -> None:
    for source in load_spec(task).sources:
        for data_set in source.data_sets:
            if data_set.unpacking is None:
                assert {file.path for file in data_set.files} <= set(source.raw_files)
            else:
                folders = data_set.unpacking.parts.values()
                assert any(p.startswith(f) for p in source.raw_files for f in folders)


def test_every_part_of_an_archive_is_read_by_a_task() -> None:
    for data_set in DATA_SETS.values():
        known = {path for name in readers_of(data_set) for path in load_spec(name).raw_files}
        for folder in data_set.unpacking.parts.values() if data_set.unpacking else ():
            assert any(path.startswith(folder) for path in known), folder


@pytest.mark.parametrize("data_set", DATA_SETS.values(), ids=list(DATA_SETS))
def test_paths_stay_inside_the_data_folder(data_set: DataSet) -> None:
    parts = data_set.unpacking.parts.values() if data_set.unpacking else ()
    for path in [*(file.path for file in data_set.files), *parts]:
        assert not path.startswith("/")
        assert ".." not in path.split("/")


def test_unpacking_has_one_archive() -> None:
    unpacked = [data_set for data_set in DATA_SETS.values() if data_set.unpacking]
    assert unpacked
    assert all(len(data_set.files) == 1 for data_set in unpacked)
