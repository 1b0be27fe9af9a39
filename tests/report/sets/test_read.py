import shutil

import pytest

from spion_bench.report.sets.read import load_sets
from tests.report.run_writer import ENVIRONMENT, RunWriter
from tests.report.sets.conftest import OTHER

GPU = ENVIRONMENT.model_copy(update={"gpu": "Example GPU"})


def write(folder, *environments, device="cpu"):
    writer = RunWriter(folder)
    for place, environment in enumerate(environments):
        gpu = "cuda" if environment.gpu else device
        cell = {"device": gpu}
        writer.add("speed", "dense_sdpa", environment=environment, key=f"k{place}", cell=cell)
    return folder


def names_and_machines(sets):
    return {one.name: one.machine_text for one in sets.each}


def test_machines_of_one_name_are_told_apart_by_their_instructions(folders, sets):
    assert names_and_machines(sets) == {
        "A": "Example CPU 9000 x 2, AVX2",
        "B": "Example CPU 9000 x 2, AVX512",
    }
    files = {outcome.file for outcome in sets.together.outcomes}
    assert files == {"A: records.jsonl", "B: records.jsonl"}
    anchors = [outcome.anchor for outcome in sets.together.outcomes]
    assert len(anchors) == len(set(anchors))


def test_a_folder_of_two_machines_is_two_sets(tmp_path):
    sets = load_sets([write(tmp_path / "a", ENVIRONMENT, OTHER), write(tmp_path / "b", OTHER)])
    assert list(names_and_machines(sets)) == ["A1", "A2", "B"]
    assert [len(one.run.outcomes) for one in sets.each] == [1, 1, 1]
    assert sets.together.n_replaced == 0


def test_cells_on_the_cpu_belong_to_the_machine_of_the_gpu(tmp_path):
    sets = load_sets([write(tmp_path / "a", ENVIRONMENT, GPU), write(tmp_path / "b", OTHER)])
    assert names_and_machines(sets)["A"] == "Example CPU 9000 x 2, AVX2, Example GPU"


def test_earlier_outcomes_are_counted_once(tmp_path):
    a, b = write(tmp_path / "a", ENVIRONMENT), write(tmp_path / "b", OTHER)
    line = (a / "records.jsonl").read_text()
    (a / "records.jsonl").write_text(line + line)
    assert load_sets([a, b]).together.n_replaced == 1


def test_no_folder_counts_twice(tmp_path):
    a = write(tmp_path / "a", ENVIRONMENT)
    shutil.copytree(a, a / "inner")
    for other in (a, a / "inner"):
        with pytest.raises(ValueError, match="name each folder once"):
            load_sets([a, other])


@pytest.mark.parametrize("n", [1, 4])
def test_two_or_three_folders_are_compared(tmp_path, n):
    folders = [write(tmp_path / str(i), ENVIRONMENT) for i in range(n)]
    with pytest.raises(ValueError, match=f"expected 2 or 3 folders to compare, got {n}"):
        load_sets(folders)
