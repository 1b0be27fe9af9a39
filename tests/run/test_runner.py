import os
import signal

import pytest

from spion_bench.records import PatternInfo
from spion_bench.records.files import file_digest
from spion_bench.records.store import Store
from spion_bench.run.runner import Runner
from spion_bench.suite.plan import expand
from spion_bench.suite.profile import CellGroup, Profile
from tests.cells import (
    ENVIRONMENT,
    MACHINE,
    measurement,
    record_of,
    task_info,
    tiny_cell,
    tiny_cells,
)

PATTERN = PatternInfo(source="x", block_size=32, length=256, nnzb=[9], density=[0.1])


class FakeDisplay:
    """Notes what it is told."""

    def __init__(self):
        self.begun = None
        self.finished = []

    def begin(self, total, done):
        self.begun = (total, done)

    def start(self, cells):
        pass

    def event(self, cell, event):
        pass

    def finish(self, cell, record):
        self.finished.append((cell.pass_name, cell.method.name, record.measurement.status))


class FakeConductor:
    """Gives every cell the status that ``statuses`` has for its pass and method, else ok."""

    def __init__(self, statuses=None, **fields):
        self.statuses = statuses or {}
        self.fields = fields
        self.turns = []

    @property
    def jobs(self):
        return [job for jobs in self.turns for job in jobs]

    def __call__(self, jobs, on_event):
        self.turns.append(list(jobs))
        return {job.cell.key: self._found(job.cell) for job in jobs}

    def _found(self, cell):
        status = self.statuses.get((cell.pass_name, cell.method.name), "ok")
        reason = None if status == "ok" else f"it was {status}"
        return measurement(status, reason, busy_s=2.5, **self.fields)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def run(store, cells, statuses=None, *, fresh=False, **fields):
    conductor, display = FakeConductor(statuses, **fields), FakeDisplay()
    runner = Runner(store, ENVIRONMENT, display, fresh=fresh, conduct=conductor)
    return runner.run(cells), conductor, display


def statuses_of(records):
    return {(r.cell.pass_name, r.cell.method.name): r.measurement.status for r in records}


def test_every_cell_gets_one_record_in_plan_order(store):
    cells = tiny_cells()
    records, conductor, display = run(store, cells)
    assert [record.key for record in records] == [cell.key for cell in cells]
    assert len(store.records) == len(cells) == len(display.finished)
    assert [len(jobs) for jobs in conductor.turns] == [1, 1, 1, 1, 1, 2, 1, 1, 3, 3]
    assert display.begun == (15, 0)


def test_a_record_says_what_was_asked_and_how_it_was_measured(store):
    cells = tiny_cells()
    records, _, _ = run(store, cells)
    assert [record.cell for record in records] == cells
    by_name = {(r.cell.pass_name, r.cell.method.name): r for r in records}
    speed = by_name["speed", "spion_cf"]
    assert speed.measurement.busy_s == 2.5
    assert speed.measurement.turn.methods == ["dense_sdpa", "spion_cf"]
    assert speed.measurement.turn.rounds == 2
    assert speed.environment.omp_wait_policy == "PASSIVE"
    assert speed.ended_at >= speed.started_at
    assert by_name["memory", "spion_cf"].measurement.turn is None


def test_done_cells_are_not_measured_again(store):
    cells = tiny_cells()
    run(store, cells)
    records, conductor, display = run(Store(store.out), cells)
    assert conductor.turns == []
    assert len(records) == len(cells)
    assert display.begun == (15, 15)


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
    assert [(j.cell.pass_name, j.cell.method.name) for j in conductor.jobs] == [
        ("memory", "spion_cf")
    ]
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


def learned(store, cell, status="ok", **fields):
    """Store an accuracy record with an artifact, as if the cell had been trained."""
    path = store.artifact(f"{cell.key}.npz")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"arrays")
    artifacts = {path.name: file_digest(path)}
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
        kept = {"artifacts": {"prefix/manifest.json": "0"}}
        path = store.artifact("prefix/manifest.json")
        path.parent.mkdir(parents=True)
        path.write_text("{}")
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


def test_ctrl_c_leaves_the_finished_cells(store):
    def interrupt(jobs, on_event):
        if jobs[0].cell.pass_name == "speed":
            raise KeyboardInterrupt
        return FakeConductor()(jobs, on_event)

    cells = tiny_cells()
    with pytest.raises(KeyboardInterrupt):
        Runner(store, ENVIRONMENT, FakeDisplay(), conduct=interrupt).run(cells)
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
