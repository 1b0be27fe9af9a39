import os
import signal

import pytest

from spion_bench.records import PatternInfo
from spion_bench.records.store import BusyError, Store
from tests.cells import record_of, task_info, tiny_cell

PATTERN = PatternInfo(source="x", block_size=32, length=256, nnzb=[9], density=[0.1])


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "out")


def test_an_empty_folder_has_no_records(store):
    assert store.records == []
    assert store.latest("x") is None


def test_records_survive_and_the_last_of_a_cell_counts(store):
    cell = tiny_cell("speed")
    store.append(record_of(cell, "timeout", reason="slow"))
    assert not store.is_done(cell)
    store.append(record_of(cell, "ok"))
    again = Store(store.out)
    assert [record.status for record in again.records] == ["timeout", "ok"]
    assert again.is_done(cell)


@pytest.mark.parametrize(
    ("status", "is_done"),
    [
        ("ok", True),
        ("unsupported", True),
        ("skipped", False),
        ("crash", False),
        ("oom", False),
        ("nan", False),
        ("gate_failed", False),
    ],
)
def test_only_good_and_unsupported_cells_are_done(store, status, is_done):
    cell = tiny_cell("speed")
    store.append(record_of(cell, status))
    assert store.is_done(cell) is is_done


def test_a_damaged_line_is_named_and_the_rest_is_kept(store):
    cell = tiny_cell("speed")
    store.append(record_of(cell))
    with store.records_file.open("a") as file:
        file.write("{half a line\n")
    again = Store(store.out)
    assert again.is_done(cell)
    assert "records.jsonl:2" in again.problems[0]


def test_two_runs_cannot_share_a_folder(store):
    other = Store(store.out).locked()
    with store.locked(), pytest.raises(BusyError, match="another run is writing here"):
        other.__enter__()
    with Store(store.out).locked():
        pass


def test_learned_patterns_must_fit_task_method_seed_length_and_block(store):
    accuracy, speed = tiny_cell("accuracy"), tiny_cell("speed")
    record = record_of(accuracy, task=task_info(), pattern=PATTERN)
    store.append(record)
    assert store.learned_patterns(speed, 256, 32) is None  # its artifact is missing
    store.artifact(record).parent.mkdir()
    store.artifact(record).write_bytes(b"")
    assert store.learned_patterns(speed, 256, 32) is record
    assert store.learned_patterns(speed, 1024, 32) is None
    assert store.learned_patterns(speed, 256, 16) is None
    assert store.learned_patterns(speed.model_copy(update={"seed": 1}), 256, 32) is None
    assert store.learned_patterns(speed.model_copy(update={"method": "spion_c"}), 256, 32) is None
    store.append(record_of(accuracy, "crash", task=task_info()))
    assert store.learned_patterns(speed, 256, 32) is record


def test_forgetting_deletes_what_a_run_would_resume_from(store):
    cell, other = tiny_cell("accuracy"), tiny_cell("accuracy", "dense_sdpa")
    kept = store.out / "checkpoints" / other.key
    gone = [store.out / "checkpoints" / cell.key, store.out / "prefixes" / cell.code]
    for folder in (kept, *gone):
        folder.mkdir(parents=True)
        (folder / "x").write_text("")
    store.forget([cell])
    assert kept.exists()
    assert not any(folder.exists() for folder in gone)


def test_ctrl_c_during_a_write_stores_the_record_first(store, monkeypatch):
    fsync = os.fsync

    def interrupted(descriptor):
        os.kill(os.getpid(), signal.SIGINT)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.append(record_of(tiny_cell("speed")))
    assert len(Store(store.out).records) == 1
