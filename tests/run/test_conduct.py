import os

import pytest

from spion_bench.passes.session import Job
from spion_bench.run import conduct as conduct_module
from spion_bench.run.child import ChildEndedError
from spion_bench.run.conduct import SECOND, WarmConductor, conduct, start_child
from spion_bench.run.messages import Measured, Progress, Ready, Result, Started
from tests.cells import measurement, tiny_cell, tiny_cells

OK = Result(measurement=measurement())
STEP = Progress(phase="dense", step=1, total_steps=2)


def started(job):
    return Started(code=job.cell.code, package="/src/spion_bench")


class FakeChild:
    """Plays a script: events to give, or errors to raise; notes what it is asked."""

    def __init__(self, name, job, script, log):
        self.name, self.log = name, log
        self.script = [started(job), *script]
        self.busy_s = 1.5
        self.is_running = True

    def send(self, request):
        self.log.append((self.name, request.kind))

    def allow(self, seconds):
        self.allowed_s = seconds

    def receive(self):
        step = self.script.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step

    def serve(self, job):
        self.script.insert(0, started(job))
        self.log.append((self.name, f"serves {job.cell.label}"))

    def finish(self):
        self.log.append((self.name, "finished"))

    def stop(self):
        self.log.append((self.name, "stopped"))

    def failure(self):
        self.is_running = False
        return measurement("crash", "ended")


class QuietMachine:
    """Samples the load of a machine on which nothing else runs."""

    cpus = 2

    def start(self):
        pass

    def stop(self):
        return 0.0


def play(tmp_path, cells, scripts):
    """Conduct fake children; return measurements by method, the log of requests, the events.

    The baseline's second worker plays the script of ``"second"``, else the baseline's.
    """
    log, events = [], []

    def start(job):
        name, script = job.cell.method.name, scripts[job.cell.method.name]
        if job.is_second:
            name, script = "second", scripts.get("second", script)
        return FakeChild(name, job, script, log)

    def on_event(cell, event):
        name = "second" if cell.key.endswith(SECOND) else cell.method.name
        events.append((name, type(event).__name__))

    jobs = [Job(cell=cell, out=str(tmp_path)) for cell in cells]
    done = conduct(jobs, on_event, start, QuietMachine)
    assert list(done) == [cell.key for cell in cells]
    return {cell.method.name: done[cell.key] for cell in cells}, log, events


def test_a_single_cell_gives_its_outcome_and_events(tmp_path):
    script = [STEP, STEP, OK]
    done, log, events = play(tmp_path, [tiny_cell("accuracy")], {"spion_cf": script})
    assert done["spion_cf"].status == "ok"
    assert done["spion_cf"].busy_s == 1.5
    assert events == [("spion_cf", "Progress")] * 2
    assert log == [("spion_cf", "finished"), ("spion_cf", "stopped")]


def test_a_timeout_kills_the_worker(tmp_path):
    done, log, _ = play(tmp_path, [tiny_cell("gate")], {"spion_cf": [TimeoutError("too long")]})
    found = done["spion_cf"]
    assert (found.status, found.reason) == ("timeout", "too long")
    assert ("spion_cf", "stopped") in log


def test_a_worker_that_runs_other_code_than_was_planned_gives_no_number(tmp_path):
    other = Started(code="0", package="/elsewhere/spion_bench")
    log = []

    def start(job):
        child = FakeChild("w", job, [OK], log)
        child.script[0] = other
        return child

    job = Job(cell=tiny_cell("memory"), out=str(tmp_path))
    found = conduct([job], lambda cell, event: None, start)[job.cell.key]
    assert found.status == "skipped"
    assert "the sources in /elsewhere/spion_bench are not those that the plan" in found.reason
    assert ("w", "stopped") in log


def test_a_worker_that_does_not_say_which_code_it_runs_gives_no_number(tmp_path):
    def start(job):
        child = FakeChild("w", job, [OK], [])
        del child.script[0]
        return child

    job = Job(cell=tiny_cell("memory"), out=str(tmp_path))
    found = conduct([job], lambda cell, event: None, start)[job.cell.key]
    assert (found.status, found.reason) == ("crash", "did not say which code it runs")


def test_a_worker_that_ends_is_a_failure(tmp_path):
    done, _, _ = play(tmp_path, [tiny_cell("gate")], {"spion_cf": [ChildEndedError()]})
    assert done["spion_cf"].status == "crash"


SPEED = [Ready(), Measured(values={"x": 2.0}), Measured(values={"x": 3.0}), OK]


def test_rounds_are_interleaved_one_worker_at_a_time(tmp_path):
    cells = tiny_cells("speed")
    done, log, events = play(tmp_path, cells, {"dense_sdpa": SPEED, "spion_cf": SPEED})
    assert {found.status for found in done.values()} == {"ok"}
    rounds = [name for name, request in log if request == "round"]
    assert sorted(rounds[:3]) == sorted(rounds[3:]) == ["dense_sdpa", "second", "spion_cf"]
    assert events == [(name, "RoundStarted") for name in rounds]
    finishes = [name for name, request in log if request == "finish"]
    assert sorted(finishes) == ["dense_sdpa", "second", "spion_cf"]
    assert log.index((finishes[0], "finish")) > max(
        i for i, (_, request) in enumerate(log) if request == "round"
    )


def test_a_turn_says_who_took_it_how_often_and_what_noise_did(tmp_path):
    second = [Ready(), Measured(values={"x": 2.2}), Measured(values={"x": 3.3}), OK]
    scripts = {"dense_sdpa": SPEED, "spion_cf": SPEED, "second": second}
    done, _, _ = play(tmp_path, tiny_cells("speed"), scripts)
    turn = done["spion_cf"].turn
    assert turn == done["dense_sdpa"].turn
    assert (turn.methods, turn.rounds) == (["dense_sdpa", "spion_cf"], 2)
    assert turn.baseline == "dense_sdpa"
    assert turn.aa["x"].value == pytest.approx(1.1)
    assert turn.load.others == [0.0, 0.0]
    assert turn.marks == [
        "2 rounds, fewer than 8",
        "the A/A ratio of x is 1.100, off by over 5 %",
    ]


def test_nothing_is_timed_where_the_workers_of_a_turn_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(conduct_module, "memory_shortage", "{} workers fill it".format)
    scripts = {"dense_sdpa": [Ready()], "spion_cf": [Result(measurement=measurement("nan", "no"))]}
    done, log, _ = play(tmp_path, tiny_cells("speed"), scripts)
    # The baseline and its second worker; the other one has ended.
    assert (done["dense_sdpa"].status, done["dense_sdpa"].reason) == ("oom", "2 workers fill it")
    assert done["spion_cf"].status == "nan"
    assert {("dense_sdpa", "stopped"), ("second", "stopped")} <= set(log)
    assert not [name for name, request in log if request == "round"]


def test_a_turn_ends_in_time_and_keeps_its_rounds(tmp_path):
    cells = tiny_cells("speed", timeout_s=1e-9)  # no second round fits
    done, _, _ = play(
        tmp_path, cells, {"dense_sdpa": [*SPEED[:2], OK], "spion_cf": [*SPEED[:2], OK]}
    )
    assert {found.status for found in done.values()} == {"ok"}
    turn = done["spion_cf"].turn
    assert turn.rounds == 1
    assert turn.marks[0] == "time limit: no round after the first 1 fitted"


def test_the_order_of_turns_depends_on_the_seed(tmp_path):
    orders = set()
    for seed in range(6):
        cells = tiny_cells("speed", seed=seed)
        _, log, _ = play(tmp_path, cells, {"dense_sdpa": SPEED, "spion_cf": SPEED})
        orders.add(tuple(name for name, request in log if request == "round"))
    assert len(orders) > 1


def test_the_others_go_on_when_one_fails(tmp_path):
    closed = Result(measurement=measurement("gate_failed", "off"))
    cells = [cell for cell in tiny_cells("kernel") if cell.case == "attention_256"]
    scripts = {
        "block_attention": SPEED,
        "pipeline": [Ready(), TimeoutError("too long")],
        "dense_sdpa": [closed],
    }
    done, log, _ = play(tmp_path, cells, scripts)
    assert {name: found.status for name, found in done.items()} == {
        "block_attention": "ok",
        "pipeline": "timeout",
        "dense_sdpa": "gate_failed",
    }
    assert log.count(("block_attention", "round")) == 2
    assert log.count(("pipeline", "round")) == 1
    assert log.count(("dense_sdpa", "round")) == 0


def test_ctrl_c_stops_every_worker(tmp_path):
    log = []

    def start(job):
        return FakeChild(job.cell.method.name, job, [KeyboardInterrupt()], log)

    jobs = [Job(cell=cell, out=str(tmp_path)) for cell in tiny_cells("speed")]
    with pytest.raises(KeyboardInterrupt):
        conduct(jobs, lambda cell, event: None, start)
    assert sorted(log) == [("dense_sdpa", "stopped")] * 2 + [("spion_cf", "stopped")]


def steps_jobs(tmp_path, *names):
    """Return jobs of the steps pass for ``"method label"`` names."""
    cells = []
    for name in names:
        method, label = name.split()
        cells.append(tiny_cell("steps", method, key=name, label=label))
    return [Job(cell=cell, out=str(tmp_path)) for cell in cells]


def serve(jobs, script):
    """Conduct jobs one by one with warm workers; return the statuses and the workers' log."""
    log, starts = [], []

    def start(job):
        starts.append(job.cell.key)
        return FakeChild(f"worker {len(starts)}", job, script, log)

    with WarmConductor(start) as conductor:
        done = [conductor([job], lambda cell, event: None)[job.cell.key] for job in jobs]
    return [each.status for each in done], starts, log


def test_one_worker_serves_a_method_on_every_task(tmp_path):
    jobs = steps_jobs(tmp_path, "bigbird image", "bigbird text", "reformer image")
    statuses, starts, log = serve(jobs, [OK, OK])
    assert statuses == ["ok"] * 3
    assert starts == ["bigbird image", "reformer image"]
    assert log == [("worker 1", "serves text"), ("worker 1", "stopped"), ("worker 2", "stopped")]


def test_a_lost_worker_is_replaced_for_the_next_task(tmp_path):
    jobs = steps_jobs(tmp_path, "bigbird image", "bigbird text")
    statuses, starts, _ = serve(jobs, [ChildEndedError()])
    assert statuses == ["crash", "crash"]
    assert starts == ["bigbird image", "bigbird text"]


def test_other_passes_get_fresh_workers(tmp_path):
    cells = [tiny_cell("accuracy"), tiny_cell("accuracy", method="dense_sdpa")]
    jobs = [Job(cell=cell, out=str(tmp_path)) for cell in cells]
    statuses, starts, log = serve(jobs, [OK])
    assert statuses == ["ok", "ok"]
    assert len(starts) == 2
    assert [what for _, what in log] == ["finished", "stopped"] * 2


@pytest.mark.parametrize(("pass_name", "is_tuned"), [("memory", True), ("accuracy", False)])
def test_only_memory_workers_have_a_tuned_malloc(tmp_path, monkeypatch, pass_name, is_tuned):
    started = {}
    monkeypatch.setattr(
        conduct_module, "Child", lambda job, log, environment: started.update(environment, log=log)
    )
    monkeypatch.setenv("OMP_PROC_BIND", "true")
    monkeypatch.setenv("KMP_AFFINITY", "compact")
    cell = tiny_cell(pass_name)
    start_child(Job(cell=cell, out=str(tmp_path)))
    assert started["OMP_NUM_THREADS"] == "2"
    assert not {"OMP_PROC_BIND", "KMP_AFFINITY"} & started.keys()
    assert started["PATH"] == os.environ["PATH"]
    assert started["OMP_WAIT_POLICY"] == "PASSIVE"
    # torch refuses to train reproducibly on a GPU without; cuBLAS may be slower with it.
    assert ("CUBLAS_WORKSPACE_CONFIG" in started) is (pass_name == "accuracy")
    assert ("MALLOC_ARENA_MAX" in started) is is_tuned
    assert started["log"] == tmp_path / "logs" / f"{cell.key}.log"
