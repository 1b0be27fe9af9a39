"""The pass that records what needs no attention."""

from __future__ import annotations

import pytest

from spion_bench.passes.session import Job
from spion_bench.passes.shortcuts import ShortcutSession
from spion_bench.passes.subject import MissingDataError
from spion_bench.records.artifacts import read_artifact
from spion_bench.suite.plan import expand
from spion_bench.suite.profile import CellGroup, Profile
from spion_bench.tasks import load_spec
from tests.cells import MACHINE, ignore, measure


def shortcut_cells(task="listops", **changes):
    fields = {"passes": ("shortcuts",), "task": task, "seeds": (0, 1), **changes}
    return expand(Profile(name="mine", description="", cells=(CellGroup(**fields),)), MACHINE)


OPTIONS = {
    "source": "generated",
    "length": 32,
    "min_length": 4,
    "n_train": 200,
    "n_dev": 20,
    "n_test": 50,
}


def test_there_is_one_cell_for_each_predictor_and_no_gate():
    cells = shortcut_cells(options=OPTIONS)
    names = [shortcut.name for shortcut in load_spec("listops").shortcuts]
    assert [(cell.pass_name, cell.method.name) for cell in cells] == [
        ("shortcuts", name) for name in names
    ]
    assert {(cell.gate, cell.parent, cell.method.family) for cell in cells} == {
        (None, None, "shortcut")
    }


def test_training_settings_change_no_shortcut():
    one, other = (
        shortcut_cells(options=OPTIONS, train={"steps": steps}, methods=("dense_sdpa",))
        for steps in (10, 20)
    )
    assert [cell.key for cell in one] == [cell.key for cell in other]
    shorter = shortcut_cells(options={**OPTIONS, "n_train": 100})
    assert shorter[0].key != one[0].key


def test_accuracy_and_every_answer_are_kept(tmp_path):
    for cell in shortcut_cells(options=OPTIONS):
        found = measure(ShortcutSession(Job(cell=cell, out=str(tmp_path)), ignore))
        accuracy = found.metrics["test_accuracy"]
        ((name, digest),) = found.artifacts.items()
        correct = read_artifact(tmp_path / "artifacts" / name, digest).test_correct
        assert correct.shape == (50,)
        assert correct.mean() == pytest.approx(accuracy.value)
        assert accuracy.low < accuracy.value < accuracy.high
        assert found.task.n_test == 50


def test_missing_data_is_said(tmp_path):
    cell = shortcut_cells("image", options={"source": "cifar10"})[0]
    with pytest.raises(MissingDataError, match="cifar10"):
        ShortcutSession(Job(cell=cell, out=str(tmp_path)), ignore)
