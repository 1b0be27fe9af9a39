import pytest

from spion_bench.records import PatternInfo
from spion_bench.records.store import Store
from spion_bench.run.conduct import Conducted
from spion_bench.run.messages import Outcome
from spion_bench.run.runner import Runner
from spion_bench.suite.plan import gate_cell
from tests.cells import ENVIRONMENT, record_of, task_info, tiny_cell, tiny_cells


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
        self.finished.append((cell.pass_name, cell.method, record.status))


class FakeConductor:
    """Gives every cell the outcome that ``statuses`` has for its pass and method, else ok."""

    def __init__(self, statuses=None, settings=None):
        self.statuses = statuses or {}
        self.settings = settings or {}
        self.turns = []

    @property
    def jobs(self):
        return [job for jobs in self.turns for job in jobs]

    def __call__(self, jobs, tell):
        self.turns.append(list(jobs))
        return {job.cell.key: Conducted(self._outcome(job.cell), 2.5) for job in jobs}

    def _outcome(self, cell):
        status = self.statuses.get((cell.pass_name, cell.method), "ok")
        reason = None if status == "ok" else f"it was {status}"
        return Outcome(status=status, reason=reason, settings=dict(self.settings))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def run(store, cells, statuses=None, *, fresh=False):
    conductor, display = FakeConductor(statuses), FakeDisplay()
    runner = Runner(store, ENVIRONMENT, display, fresh=fresh, conduct=conductor)
    return runner.run(cells), conductor, display


def statuses_of(records):
    return {(record.pass_name, record.method.name): record.status for record in records}


def test_every_cell_gets_one_record_in_plan_order(store):
    cells = tiny_cells()
    records, conductor, display = run(store, cells)
    assert [record.cell_key for record in records] == [cell.key for cell in cells]
    assert len(store.records) == len(cells) == len(display.finished)
    assert [len(jobs) for jobs in conductor.turns] == [1, 1, 1, 1, 2, 1, 1, 3, 3]
    assert display.begun == (14, 0)


def test_a_record_says_how_it_was_measured(store):
    records, _, _ = run(store, tiny_cells())
    by_name = {(r.pass_name, r.method.name): r for r in records}
    speed = by_name["speed", "spion_cf"]
    assert speed.settings["label"] == "image256"
    assert speed.settings["busy_s"] == 2.5
    assert speed.settings["measured_in_turns_with"] == "dense_sdpa, spion_cf"
    assert speed.settings["rounds"] == 2
    assert speed.dtype == "float32"
    assert speed.ended_at >= speed.started_at
    assert "rounds" not in by_name["memory", "spion_cf"].settings


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, None),  # nobody looked
        ({"throttle_reasons": ""}, []),
        ({"throttle_reasons": "hw_slowdown sw_power_cap"}, ["hw_slowdown", "sw_power_cap"]),
    ],
)
def test_a_record_says_why_a_gpu_was_slow_if_anybody_looked(store, settings, expected):
    conductor = FakeConductor(settings=settings)
    runner = Runner(store, ENVIRONMENT, FakeDisplay(), fresh=False, conduct=conductor)
    (record,) = runner.run([tiny_cell("accuracy")])
    assert record.environment.gpu_throttle_reasons == expected


def test_done_cells_are_not_measured_again(store):
    cells = tiny_cells()
    run(store, cells)
    records, conductor, display = run(Store(store.out), cells)
    assert conductor.turns == []
    assert len(records) == len(cells)
    assert display.begun == (14, 14)


def test_fresh_measures_everything_again_and_forgets_checkpoints(store):
    cells = tiny_cells()
    run(store, cells)
    checkpoint = store.out / "checkpoints" / tiny_cell("accuracy").key
    checkpoint.mkdir(parents=True)
    _, conductor, display = run(store, cells, fresh=True)
    assert len(conductor.jobs) == len(cells)
    assert display.begun == (14, 0)
    assert not checkpoint.exists()


def test_failed_cells_are_measured_again(store):
    cells = tiny_cells()
    records, _, _ = run(store, cells, {("memory", "spion_cf"): "timeout"})
    assert statuses_of(records)["memory", "spion_cf"] == "timeout"
    records, conductor, _ = run(store, cells)
    assert [(j.cell.pass_name, j.cell.method) for j in conductor.jobs] == [("memory", "spion_cf")]
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
    assert sorted(job.cell.method for job in conductor.jobs) == ["dense_sdpa", "spion_cf"]


def test_a_closed_gate_bars_its_method_only(store):
    records, conductor, _ = run(store, tiny_cells(), {("gate", "spion_cf"): "gate_failed"})
    found = statuses_of(records)
    for pass_name in ("accuracy", "speed", "memory"):
        assert found[pass_name, "spion_cf"] == "gate_failed"
        assert found[pass_name, "dense_sdpa"] == "ok"
    measured = {(job.cell.pass_name, job.cell.method) for job in conductor.jobs}
    assert ("speed", "spion_cf") not in measured
    record = store.latest(tiny_cell("speed").key)
    assert record.reason.startswith(f"gate cell {gate_cell(tiny_cell('speed')).key}: it was")


@pytest.mark.parametrize(("gate", "barred"), [("crash", "skipped"), ("unsupported",) * 2])
def test_a_gate_without_an_answer_lets_nothing_be_measured(store, gate, barred):
    records, _, _ = run(store, tiny_cells(), {("gate", "spion_cf"): gate})
    assert statuses_of(records)["memory", "spion_cf"] == barred
    assert gate in store.latest(tiny_cell("memory").key).reason


def test_without_a_gate_record_the_worker_checks_first(store):
    _, conductor, _ = run(store, tiny_cells("memory"))
    assert [job.check_first for job in conductor.jobs] == [True, True]


def test_an_earlier_gate_vouches_for_a_method(store):
    run(store, tiny_cells("gate"))
    _, conductor, _ = run(store, tiny_cells("memory") + tiny_cells("kernel"))
    assert {job.check_first for job in conductor.jobs} == {False}


def test_learned_patterns_are_used_and_checked(store):
    cell = tiny_cell("accuracy")
    pattern = PatternInfo(source="x", block_size=32, length=256, nnzb=[9], density=[0.1])
    record = record_of(cell, task=task_info(), pattern=pattern)
    store.append(record)
    store.artifact(record).parent.mkdir()
    store.artifact(record).write_bytes(b"")
    _, conductor, _ = run(store, tiny_cells("gate") + tiny_cells("speed") + tiny_cells("memory"))
    for job in conductor.jobs:
        learned = job.cell.method == "spion_cf" and job.cell.pass_name != "gate"
        assert job.pattern_cell == (cell.key if learned else None)
        assert (job.pattern_artifact == str(store.artifact(record))) is learned
        assert job.check_first is learned


def test_ctrl_c_leaves_the_finished_cells(store):
    def interrupt(jobs, tell):
        if jobs[0].cell.pass_name == "speed":
            raise KeyboardInterrupt
        return FakeConductor()(jobs, tell)

    cells = tiny_cells()
    with pytest.raises(KeyboardInterrupt):
        Runner(store, ENVIRONMENT, FakeDisplay(), conduct=interrupt).run(cells)
    assert len(Store(store.out).records) == 4
    _, conductor, display = run(Store(store.out), cells)
    assert display.begun == (14, 4)
    assert {job.cell.pass_name for job in conductor.jobs} == {"speed", "memory", "kernel"}


def kernel_cell(case, method, **changes):
    return tiny_cell("kernel", "block_attention").model_copy(
        update={"case": case, "label": case, "method": method, "key": f"{case}-{method}"} | changes
    )


def test_a_subject_that_a_rule_leaves_out_is_unsupported_without_a_worker(store):
    cells = [kernel_cell("sweep_L32768", name) for name in ("block_attention", "dense_sdpa")]
    records, conductor, _ = run(store, cells)
    assert [job.cell.method for job in conductor.jobs] == ["block_attention"]
    assert [record.status for record in records] == ["ok", "unsupported"]
    assert "TFLOP (modelled)" in records[1].reason
    assert (records[1].settings["L"], records[1].settings["sweeps"]) == (32768, "length")
    _, again, _ = run(store, cells)
    assert again.turns == []  # it is not tried again


def test_a_record_names_the_dtype_and_the_threads_of_its_cell(store):
    cells = [
        kernel_cell("sweep_bfloat16", "block_attention", threads=1),
        kernel_cell("sweep_bfloat16", "block_attention_float32", threads=1),
    ]
    records, _, _ = run(store, cells)
    assert [record.dtype for record in records] == ["bfloat16", "float32"]
    assert [record.environment.threads for record in records] == [1, 1]
