import pytest

from spion_bench.run import expected
from spion_bench.run.expected import Expected, expect
from tests.cells import metric, record_of, tiny_cell


@pytest.fixture(autouse=True)
def committed_records(monkeypatch):
    """Committed records of another machine: one speed cell of dense attention."""
    elsewhere = tiny_cell("speed", "dense_sdpa", machine="Another CPU x 2")
    records = [record_of(elsewhere, busy_s=7.0)]
    monkeypatch.setattr(expected, "read_records", lambda folder: (records, []))
    expected.committed.cache_clear()
    yield
    expected.committed.cache_clear()


def test_it_is_the_median_of_earlier_runs_of_the_same_kind():
    cell, other = tiny_cell("speed"), tiny_cell("speed", "dense_sdpa")
    records = [record_of(cell, busy_s=seconds) for seconds in (1.0, 5.0, 2.0)]
    records += [
        record_of(cell, "timeout", busy_s=900.0),
        record_of(other, busy_s=800.0, metrics={"train_step_ms": metric(1)}),
    ]
    assert expect([cell], records) == {cell.key: Expected(2.0, "this machine")}


def test_without_any_the_committed_records_say_so():
    dense, spion, memory = tiny_cell("speed", "dense_sdpa"), tiny_cell("speed"), tiny_cell("memory")
    assert expect([dense, spion, memory], []) == {
        dense.key: Expected(7.0, "committed records"),
        spion.key: Expected(7.0, "similar committed records"),
        memory.key: None,
    }


def test_a_folder_that_machines_share_does_not_mix_them():
    here, there = tiny_cell("speed"), tiny_cell("speed", machine="Third CPU x 2")
    found = expect([here], [record_of(there, busy_s=3.0)])
    assert found[here.key] == Expected(7.0, "similar committed records")
