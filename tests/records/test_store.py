import pytest

from spion_bench.records.store import BusyError, Store
from tests.cells import record_of, tiny_cell


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
    assert [record.measurement.status for record in again.records] == ["timeout", "ok"]
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


def test_an_outcome_that_depends_on_the_machine_is_never_final(store):
    cell = tiny_cell("speed")
    store.append(record_of(cell, "unsupported", reason="no GPU", is_final=False))
    assert not store.is_done(cell)
    store.append(record_of(cell, "unsupported", reason="has no backward pass"))
    assert store.is_done(cell)


def test_a_cell_whose_artifact_is_gone_is_not_done(store):
    cell = tiny_cell("accuracy")
    store.append(record_of(cell, artifacts={"x.npz": "0" * 64}))
    assert not store.is_done(cell)
    store.artifact("x.npz").parent.mkdir()
    store.artifact("x.npz").write_bytes(b"other")
    assert store.is_done(cell)
    assert not store.is_intact("x.npz", "0" * 64)


def test_forgetting_deletes_what_a_run_would_resume_from(store):
    cell, other = tiny_cell("accuracy"), tiny_cell("accuracy", "dense_sdpa")
    kept = store.out / "checkpoints" / other.key
    gone = [store.out / "checkpoints" / cell.key, store.out / "artifacts" / cell.key]
    for folder in (kept, *gone):
        folder.mkdir(parents=True)
        (folder / "x").write_text("")
    store.forget([cell])
    assert kept.exists()
    assert not any(folder.exists() for folder in gone)
