"""What a cell takes from earlier ones: learned patterns, and the dense phase it continues."""

import pytest

from spion_bench.records import PatternInfo
from spion_bench.records.artifacts import write_artifact
from spion_bench.records.files import file_digest
from spion_bench.records.store import Store
from tests.cells import ARTIFACT, record_of, task_info, tiny_cell, tiny_cells
from tests.run.fakes import run, statuses_of

PATTERN = PatternInfo(source="x", block_size=32, length=256, nnzb=[9], density=[0.1])


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def learned(store, cell, status="ok", **fields):
    """Store an accuracy record with an artifact, as if the cell had been trained."""
    path = store.artifact(f"{cell.key}.npz")
    artifacts = {path.name: write_artifact(path, ARTIFACT)}
    found = {"task": task_info(), "pattern": PATTERN, "artifacts": artifacts, **fields}
    store.append(record_of(cell, status, **found))
    return path


def patterns_of(store, cells):
    _, conductor, _ = run(store, cells)
    return {
        job.cell.method.name: (job.pattern_cell, job.pattern_artifact) for job in conductor.jobs
    }


def test_learned_patterns_are_used_and_checked(store):
    cell = tiny_cell("accuracy")
    path = learned(store, cell)
    _, conductor, _ = run(store, tiny_cells("gate") + tiny_cells("speed") + tiny_cells("memory"))
    for job in conductor.jobs:
        uses = job.cell.method.name == "spion_cf" and job.cell.pass_name != "gate"
        assert job.pattern_cell == (cell.key if uses else None)
        assert job.pattern_artifact == (str(path) if uses else None)
        assert job.pattern_sha256 == (file_digest(path) if uses else None)
        assert job.check_first is uses


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"spion": {"block_size": 16, "quantile": 0.9}},
        {"options": {"source": "digits", "length": 1024, "n_train": 64}},
    ],
    ids=str,
)
def test_learned_patterns_must_fit_seed_block_size_and_length(store, other):
    learned(store, tiny_cell("accuracy"))
    found = patterns_of(store, [tiny_cell("memory", **other)])
    assert found == {"spion_cf": (None, None)}


def test_learned_patterns_must_be_of_the_same_method(store):
    learned(store, tiny_cell("accuracy"))
    assert patterns_of(store, [tiny_cell("memory", "spion_c")]) == {"spion_c": (None, None)}


def test_a_cell_with_a_damaged_artifact_is_measured_again_and_says_why(store):
    cell = tiny_cell("accuracy")
    path = learned(store, cell)
    path.write_bytes(path.read_bytes()[:-1])
    _, conductor, display = run(store, [cell])
    assert [job.cell.key for job in conductor.jobs] == [cell.key]
    assert not path.exists()
    assert display.messages == [
        f"artifact {path.name} is damaged or gone; its cell is measured again"
    ]


def test_a_changed_artifact_is_not_used(store):
    learned(store, tiny_cell("accuracy")).write_bytes(b"other arrays")
    assert patterns_of(store, tiny_cells("memory", "spion_cf")) == {"spion_cf": (None, None)}


def test_a_failed_try_does_not_hide_an_earlier_pattern(store):
    cell = tiny_cell("accuracy")
    learned(store, cell)
    store.append(record_of(cell, "crash"))
    assert patterns_of(store, tiny_cells("memory", "spion_cf"))["spion_cf"][0] == cell.key


class TestForks:
    def cells(self):
        return [c for c in tiny_cells() if c.pass_name in ("gate", "prefix", "accuracy")]

    @pytest.mark.parametrize(
        ("status", "barred"), [("crash", "skipped"), ("nan", "skipped"), ("unsupported",) * 2]
    )
    def test_a_fork_waits_for_its_parent(self, store, status, barred):
        records, conductor, _ = run(store, self.cells(), {("prefix", "dense_sdpa"): status})
        assert statuses_of(records)["accuracy", "spion_cf"] == barred
        assert statuses_of(records)["accuracy", "dense_sdpa"] == barred
        reason = records[-1].measurement.reason
        assert f"dense prefix cell {self.cells()[-1].parent}" in reason
        assert "accuracy" not in {job.cell.pass_name for job in conductor.jobs}
        records, _, _ = run(store, self.cells())
        if status != "unsupported":
            assert set(statuses_of(records).values()) == {"ok"}

    def test_a_prefix_is_trained_again_only_if_a_fork_needs_it(self, store):
        path = store.artifact("prefix/manifest.json")
        path.parent.mkdir(parents=True)
        path.write_text("{}")
        kept = {"artifacts": {"prefix/manifest.json": file_digest(path)}}
        run(store, self.cells(), **kept)
        path.unlink()
        path.parent.rmdir()
        cells = [cell for cell in self.cells() if cell.pass_name == "prefix"]
        assert not store.is_done(cells[0])
        _, conductor, _ = run(store, cells)
        assert conductor.jobs == []
        store.append(record_of(self.cells()[-1], "crash"))
        _, conductor, _ = run(store, self.cells())
        assert "prefix" in {job.cell.pass_name for job in conductor.jobs}
