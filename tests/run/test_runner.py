import os
import signal

import pytest

from spion_bench.records.store import Store
from spion_bench.run.executors.executor import OneByOne
from spion_bench.run.runner import Runner
from spion_bench.suite.plan import Machine, expand
from spion_bench.suite.profile import CellGroup, Profile
from tests.cells import (
    ENVIRONMENT,
    MACHINE,
    TINY,
    tiny_cell,
    tiny_cells,
)
from tests.run.fakes import FakeConductor, FakeDisplay, run, statuses_of


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_every_cell_gets_one_record_in_plan_order(store):
    cells = tiny_cells()
    records, conductor, display = run(store, cells)
    assert [record.key for record in records] == [cell.key for cell in cells]
    assert len(store.records) == len(cells) == len(display.finished)
    assert [len(jobs) for jobs in conductor.turns] == [1, 1, 1, 1, 1, 2, 2, 3, 3]
    assert display.begun == (15, 0)


def test_a_record_says_what_was_asked_and_how_it_was_measured(store):
    cells = tiny_cells()
    records, _, _ = run(store, cells)
    assert [record.cell for record in records] == cells
    by_name = {(r.cell.pass_name, r.cell.method.name): r for r in records}
    speed = by_name["speed", "spion_cf"]
    assert speed.measurement.busy_s == 2.5
    assert speed.environment.omp_wait_policy == "PASSIVE"
    assert speed.ended_at >= speed.started_at
    assert by_name["accuracy", "spion_cf"].measurement.busy_s == 2.5


def test_done_cells_are_not_measured_again(store):
    cells = tiny_cells()
    run(store, cells)
    records, conductor, display = run(Store(store.out), cells)
    assert conductor.turns == []
    assert len(records) == len(cells)
    assert display.begun == (15, 15)


def test_what_another_profile_measured_in_the_folder_becomes_this_ones(store):
    first, _, _ = run(store, tiny_cells())
    cells = expand(TINY.model_copy(update={"name": "other"}), MACHINE)
    records, conductor, display = run(Store(store.out), cells)
    assert conductor.turns == []
    assert display.begun == (15, 15)
    assert {record.cell.profile for record in records} == {"other"}
    assert [r.measurement for r in records] == [r.measurement for r in first]
    assert len(Store(store.out).records) == 30  # nothing is rewritten
    run(Store(store.out), cells)
    assert len(Store(store.out).records) == 30


def test_what_failed_in_another_profile_is_measured_for_this_one(store):
    cells = expand(TINY.model_copy(update={"name": "other"}), MACHINE)
    run(store, tiny_cells(), {("memory", "spion_cf"): "timeout"})
    records, conductor, _ = run(Store(store.out), cells)
    assert {job.cell.pass_name for job in conductor.jobs} == {"memory"}
    timed_out = [r for r in Store(store.out).records if r.measurement.status == "timeout"]
    assert [record.cell.profile for record in timed_out] == [tiny_cells()[0].profile]
    assert {record.cell.profile for record in records} == {"other"}
    before = len(Store(store.out).records)
    run(Store(store.out), tiny_cells(), fresh=True)  # takes nothing over: all is measured
    assert len(Store(store.out).records) == before + len(cells)


def test_what_another_machine_measured_in_the_folder_is_not_done(store):
    here, there = (expand(TINY, Machine("cpu", 2, name=name)) for name in ("CPU x 2", "CPU x 64"))
    run(store, here)
    records, conductor, display = run(Store(store.out), there)
    assert display.begun == (15, 0)
    assert {job.pattern_cell for job in conductor.jobs} <= {None, *(cell.key for cell in there)}
    assert {record.cell.machine for record in records} == {"CPU x 64"}
    assert run(Store(store.out), here)[2].begun == (15, 15)


def test_fresh_measures_everything_again_and_forgets_checkpoints(store):
    cells = tiny_cells()
    run(store, cells)
    checkpoint = store.out / "checkpoints" / tiny_cell("accuracy").key
    checkpoint.mkdir(parents=True)
    _, conductor, display = run(store, cells, fresh=True)
    assert len(conductor.jobs) == len(cells)
    assert display.begun == (15, 0)
    assert not checkpoint.exists()


def test_failed_cells_are_measured_again(store):
    cells = tiny_cells()
    records, _, _ = run(store, cells, {("memory", "spion_cf"): "timeout"})
    assert statuses_of(records)["memory", "spion_cf"] == "timeout"
    records, conductor, _ = run(store, cells)
    assert {(j.cell.pass_name, j.cell.method.name) for j in conductor.jobs} == {
        ("memory", "spion_cf"),
        ("memory", "dense_sdpa"),  # they take turns
    }
    assert set(statuses_of(records).values()) == {"ok"}


def test_unsupported_cells_are_not_tried_again(store):
    cells = tiny_cells("memory")
    run(store, cells, {("memory", "spion_cf"): "unsupported"})
    _, conductor, _ = run(store, cells)
    assert conductor.jobs == []


def test_a_turn_with_a_missing_cell_is_measured_as_a_whole(store):
    cells = tiny_cells("speed")
    run(store, cells, {("speed", "spion_cf"): "crash"})
    _, conductor, _ = run(store, cells)
    assert sorted(job.cell.method.name for job in conductor.jobs) == ["dense_sdpa", "spion_cf"]


def test_a_closed_gate_bars_its_method_only(store):
    records, conductor, _ = run(store, tiny_cells(), {("gate", "spion_cf"): "gate_failed"})
    found = statuses_of(records)
    for pass_name in ("accuracy", "speed", "memory"):
        assert found[pass_name, "spion_cf"] == "gate_failed"
        assert found[pass_name, "dense_sdpa"] == "ok"
    measured = {(job.cell.pass_name, job.cell.method.name) for job in conductor.jobs}
    assert ("speed", "spion_cf") not in measured
    cell = tiny_cell("speed")
    assert store.latest(cell.key).measurement.reason.startswith(f"gate cell {cell.gate}: it was")


@pytest.mark.parametrize(("gate", "barred"), [("crash", "skipped"), ("unsupported",) * 2])
def test_a_gate_without_an_answer_lets_nothing_be_measured(store, gate, barred):
    records, _, _ = run(store, tiny_cells(), {("gate", "spion_cf"): gate})
    assert statuses_of(records)["memory", "spion_cf"] == barred
    assert gate in store.latest(tiny_cell("memory").key).measurement.reason


def test_without_a_gate_record_the_worker_checks_first(store):
    _, conductor, _ = run(store, tiny_cells("memory"))
    assert [job.check_first for job in conductor.jobs] == [True, True]


def test_an_earlier_gate_vouches_for_a_method(store):
    run(store, tiny_cells("gate"))
    _, conductor, _ = run(store, tiny_cells("memory") + tiny_cells("kernel"))
    assert {job.check_first for job in conductor.jobs} == {False}


def test_ctrl_c_leaves_the_finished_cells(store):
    def interrupt(jobs, on_event):
        if jobs[0].cell.pass_name == "speed":
            raise KeyboardInterrupt
        return FakeConductor()(jobs, on_event)

    cells = tiny_cells()
    with pytest.raises(KeyboardInterrupt):
        Runner(store, ENVIRONMENT, FakeDisplay(), executor=OneByOne(interrupt)).run(cells)
    assert len(Store(store.out).records) == 5
    _, conductor, display = run(Store(store.out), cells)
    assert display.begun == (15, 5)
    assert {job.cell.pass_name for job in conductor.jobs} == {"speed", "memory", "kernel"}


def test_ctrl_c_during_a_write_stores_the_record_first(store, monkeypatch):
    fsync = os.fsync

    def interrupted(descriptor):
        os.kill(os.getpid(), signal.SIGINT)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(store, tiny_cells("gate"))
    assert len(Store(store.out).records) == 1


def kernel_cells(case, *names, **changes):
    group = CellGroup(passes=("kernel",), cases=(case,))
    cells = expand(Profile(name="p", description="", cells=(group,)), MACHINE)
    return [c.model_copy(update=changes) for c in cells if c.method.name in names]


def test_an_implementation_that_a_rule_leaves_out_is_unsupported_without_a_worker(store):
    cells = kernel_cells("sweep_L32768", "block_attention", "dense_sdpa")
    records, conductor, _ = run(store, cells)
    assert [job.cell.method.name for job in conductor.jobs] == ["block_attention"]
    assert [record.measurement.status for record in records] == ["ok", "unsupported"]
    assert "TFLOP (modelled)" in records[1].measurement.reason
    assert (records[1].cell.shape.length, records[1].cell.sweeps) == (32768, ("length",))
    _, again, _ = run(store, cells)
    assert again.turns == []  # it is not tried again


def test_what_this_machine_lacks_is_tried_again(store, monkeypatch):
    monkeypatch.setattr("spion_bench.run.runner.available_cores", lambda: 1)
    cells = kernel_cells("sweep_threads2", "block_attention")
    records, conductor, _ = run(store, cells)
    assert records[0].measurement.reason == "the case needs 2 threads, this machine has 1 cores"
    assert conductor.jobs == []
    monkeypatch.setattr("spion_bench.run.runner.available_cores", lambda: 2)
    records, conductor, _ = run(store, cells)
    assert len(conductor.jobs) == 1
    assert records[0].is_ok


def test_a_record_names_the_dtype_and_the_threads_of_its_cell(store):
    names = ("block_attention", "block_attention_float32")
    records, _, _ = run(store, kernel_cells("sweep_bfloat16", *names, threads=1))
    assert [record.cell.dtype for record in records] == ["bfloat16", "float32"]
    assert [record.environment.threads for record in records] == [1, 1]
