import pytest

from spion_bench.records.artifacts import write_artifact
from spion_bench.records.files import file_digest
from spion_bench.records.store import BusyError, Store
from tests.cells import ARTIFACT, record_of, tiny_cell


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


def test_a_cell_is_done_while_its_artifacts_are_as_stored(store):
    cell = tiny_cell("accuracy")
    artifact, weights = store.artifact("x.npz"), store.artifact("prefix/weights")
    found = {"x.npz": write_artifact(artifact, ARTIFACT)}
    weights.parent.mkdir()
    weights.write_bytes(b"numbers")
    store.append(record_of(cell, artifacts={**found, "prefix/weights": file_digest(weights)}))
    assert store.is_done(cell)
    weights.write_bytes(b"other numbers")
    assert store.damaged(store.latest(cell.key)) == ["prefix/weights"]
    assert not store.is_done(cell)


def truncated(content):
    return content[:-20]


def emptied(content):
    return b""


@pytest.mark.parametrize("damage", [None, truncated, emptied])
def test_a_cell_whose_artifact_is_gone_or_damaged_is_not_done(store, damage):
    cell = tiny_cell("accuracy")
    path = store.artifact("x.npz")
    store.append(record_of(cell, artifacts={"x.npz": write_artifact(path, ARTIFACT)}))
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    assert not store.is_done(cell)
    assert store.discard_damaged(cell) == ["x.npz"]
    assert not path.exists()


def test_an_artifact_of_the_recorded_hash_that_is_none_makes_its_cell_undone(store):
    cell, path = tiny_cell("accuracy"), store.artifact("x.npz")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no artifact")
    store.append(record_of(cell, artifacts={"x.npz": file_digest(path)}))
    assert not store.is_done(cell)


def test_a_damaged_folder_of_artifacts_is_deleted_as_a_whole(store):
    cell = tiny_cell("accuracy")
    folder = store.artifact("prefix")
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / name).write_text(name)
    digests = {f"prefix/{name}": file_digest(folder / name) for name in ("a", "b")}
    store.append(record_of(cell, artifacts=digests))
    assert store.discard_damaged(cell) == []
    (folder / "b").write_text("other")
    assert store.discard_damaged(cell) == ["prefix/b"]
    assert not folder.exists()


def test_what_killed_runs_left_half_written_is_removed(store):
    for folder in ("artifacts", "checkpoints/a"):
        (store.out / folder).mkdir(parents=True)
        (store.out / folder / "x.npz.123.tmp").write_text("")
        (store.out / folder / "x.npz").write_text("")
    with store.locked():
        assert not list(store.out.rglob("*.tmp"))
        assert len(list(store.out.rglob("*.npz"))) == 2


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
