import errno
import io
import os
import queue
from contextlib import contextmanager

import pytest
import torch

from spion_bench.measure.gpu_watch import INTERVAL_S, LONG_INTERVAL_S, NoGpu
from spion_bench.model.attention import UnavailableError, UnsupportedError
from spion_bench.native.library import BuildError
from spion_bench.passes.gate.oracle import GateResult
from spion_bench.passes.session import RoundSamples
from spion_bench.passes.step.training_step import NonFiniteStepError
from spion_bench.passes.subject import MissingDataError
from spion_bench.records import GpuReadings, GpuRound, Parallelism, TorchModes
from spion_bench.run import worker
from spion_bench.run.channel import Channel
from spion_bench.run.messages import FinishRequest, Measured, Progress, Ready, RoundRequest, Started
from spion_bench.run.worker import is_out_of_memory, run_job
from spion_bench.suite.influence import PACKAGE
from spion_bench.suite.keys import with_code
from spion_bench.suite.passes import PASSES
from spion_bench.train import NonFiniteLossError, ProgressEvent
from tests.cells import gate_errors, measurement, task_info, tiny_cell, tiny_job


class FakeChannel:
    """Answers with the given requests and notes the events."""

    def __init__(self, *requests):
        self.requests = list(requests)
        self.events = []

    def receive(self):
        return self.requests.pop(0)

    def send(self, event):
        self.events.append(event)


class FakeSession:
    """Counts rounds; its gate can be closed."""

    def __init__(self, reason=None):
        self.reason = reason
        self.checks = 0
        self.rounds = RoundSamples()

    def check(self):
        self.checks += 1
        return GateResult(gate_errors(out=0.5), self.reason)

    def describe(self):
        return measurement(task=task_info())

    def measure(self):
        self.rounds.add({"train_step_ms": [1.0, 3.0]})

    def result(self):
        return measurement(metrics=self.rounds.metrics())


@pytest.fixture
def run(tmp_path, monkeypatch):
    def run(session, *requests, pass_name="speed", method="spion_cf", **fields):
        monkeypatch.setattr(worker, "load_object", lambda name: lambda job, on_progress: session)
        channel = FakeChannel(*requests)
        job = tiny_job(tmp_path, pass_name, method).model_copy(update=fields)
        found = run_job(job, channel)
        assert channel.events[0] == Started(code=job.cell.code, package=str(PACKAGE))
        return found, channel.events[1:]

    return run


def test_a_session_measures_one_round_per_request(run):
    session = FakeSession()
    found, events = run(session, RoundRequest(), RoundRequest(), FinishRequest())
    assert found.metrics["train_step_ms"].round_sizes == [2, 2]
    assert events == [Ready(), *[Measured(values={"train_step_ms": 2.0})] * 2]
    assert session.checks == 0
    assert found.gate == []


def test_other_passes_measure_once_without_being_asked(run):
    found, events = run(FakeSession(), pass_name="accuracy")
    assert found.metrics["train_step_ms"].round_sizes == [2]
    assert events == []


def test_a_round_that_repeats_one_replaces_it(run):
    requests = [RoundRequest(), RoundRequest(repeats=True), RoundRequest(), FinishRequest()]
    found, events = run(FakeSession(), *requests)
    assert found.metrics["train_step_ms"].round_sizes == [2, 2]
    assert len(events) == 4


def test_the_second_worker_of_a_baseline_leaves_the_gate_to_the_first(run):
    session = FakeSession("out is off")
    asked = {"pass_name": "kernel", "method": "pipeline", "is_second": True}
    found, _ = run(session, RoundRequest(), FinishRequest(), check_first=True, **asked)
    assert (found.status, session.checks) == ("ok", 0)


MADE = []


class FakeWatch(NoGpu):
    """Notes what was sampled; every window finds the same."""

    def __init__(self, uuid, interval_s, *, with_memory):
        self.asked = (uuid, interval_s, with_memory)
        self.windows = 0
        MADE.append(self)

    @contextmanager
    def window(self):
        yield
        self.windows += 1

    def forget_last(self):
        self.windows -= 1

    def last_round(self):
        return GpuRound(sm_clock_mhz=1410)

    def readings(self):
        return GpuReadings(readings=self.windows)

    def process_peak_bytes(self):
        return 7 if self.asked[2] else None


@pytest.fixture
def watches(monkeypatch):
    MADE.clear()
    monkeypatch.setattr(worker, "GpuWatch", FakeWatch)
    monkeypatch.setattr(worker, "torch_uuid", lambda: "ab-cd")
    return MADE


def on_gpu(pass_name):
    return with_code(tiny_cell(pass_name).model_copy(update={"device": "cuda"}))


def test_each_round_on_a_gpu_is_sampled_and_a_repeated_one_replaced(run, watches):
    requests = [RoundRequest(), RoundRequest(repeats=True), RoundRequest(), FinishRequest()]
    found, events = run(FakeSession(), *requests, cell=on_gpu("speed"))
    assert events[1].gpu == GpuRound(sm_clock_mhz=1410)
    assert found.gpu == GpuReadings(readings=2)
    assert "process_peak_bytes" not in found.metrics
    assert [watch.asked for watch in watches] == [("ab-cd", INTERVAL_S, False)]


def test_the_process_peak_stands_next_to_the_allocators(run, watches):
    found, _ = run(FakeSession(), RoundRequest(), FinishRequest(), cell=on_gpu("memory"))
    assert found.metrics["process_peak_bytes"].value == 7
    assert found.metrics["process_peak_bytes"].unit == "bytes"
    assert "train_step_ms" in found.metrics


def test_training_is_sampled_as_a_whole_and_a_gate_not_at_all(run, watches):
    found, _ = run(FakeSession(), cell=on_gpu("accuracy"))
    assert found.gpu == GpuReadings(readings=1)
    assert [watch.asked for watch in watches] == [("ab-cd", LONG_INTERVAL_S, False)]
    found, _ = run(FakeSession(), cell=on_gpu("gate"))
    assert (found.gpu, len(watches)) == (None, 1)


def test_a_worker_with_less_than_was_asked_refuses_to_time_anything(run, monkeypatch):
    had = Parallelism(asked=2, cpus=1, quota=None, team=2, running=2)
    monkeypatch.setattr(worker, "prove", lambda threads: had)
    found, events = run(FakeSession())
    assert (found.status, found.is_final, events) == ("unsupported", False, [])
    assert "--threads 1" in found.reason
    found, _ = run(FakeSession(), pass_name="accuracy")
    assert (found.status, found.parallelism) == ("ok", None)


def test_what_a_worker_had_is_recorded(run, monkeypatch):
    had = Parallelism(asked=2, cpus=2, quota=2.0, team=2, running=2)
    monkeypatch.setattr(worker, "prove", lambda threads: had)
    found, _ = run(FakeSession(), RoundRequest(), FinishRequest())
    assert found.parallelism == had
    assert found.modes == TorchModes(cudnn_benchmark=True, deterministic=False)


def test_a_method_without_a_gate_cell_is_checked_first(run):
    found, _ = run(FakeSession(), FinishRequest(), check_first=True)
    assert found.gate == gate_errors(out=0.5)


@pytest.mark.parametrize(("pass_name", "method"), [("kernel", "pipeline"), ("gate", "spion_cf")])
def test_passes_that_check_themselves_are_always_checked(run, pass_name, method):
    session = FakeSession()
    run(session, FinishRequest(), pass_name=pass_name, method=method)
    assert session.checks == 1


def test_a_closed_gate_gives_no_number_and_says_what_was_tried(run):
    session = FakeSession("out is off")
    found, events = run(session, check_first=True)
    assert (found.status, found.reason, events) == ("gate_failed", "out is off", [])
    assert found.gate == gate_errors(out=0.5)
    assert found.task == task_info()
    assert session.rounds.metrics() == {}


def test_progress_events_are_sent_on(tmp_path, monkeypatch):
    class Telling(FakeSession):
        def __init__(self, job, on_progress):
            super().__init__()
            on_progress(ProgressEvent("dense", 3, 10, 1.5))

    monkeypatch.setattr(worker, "load_object", lambda name: Telling)
    channel = FakeChannel()
    found = run_job(tiny_job(tmp_path, "accuracy"), channel)
    assert found.status == "ok"
    assert found.modes == TorchModes(cudnn_benchmark=False, deterministic=True)
    assert channel.events[1:] == [Progress(phase="dense", step=3, total_steps=10, loss=1.5)]


def test_a_cell_goes_to_the_session_of_its_pass(tmp_path, monkeypatch):
    loaded = []

    def load(name):
        loaded.append(name)
        return lambda job, on_progress: FakeSession()

    monkeypatch.setattr(worker, "load_object", load)
    for pass_name in ("gate", "memory", "accuracy", "prefix"):
        run_job(tiny_job(tmp_path, pass_name, "dense_sdpa"), FakeChannel(FinishRequest()))
        assert loaded[-1] == PASSES[pass_name].session


@pytest.mark.parametrize(
    ("error", "status", "is_final"),
    [
        (UnsupportedError("no"), "unsupported", True),
        (UnavailableError("not here"), "unsupported", False),
        (BuildError("no nvcc"), "unsupported", False),
        (MissingDataError("no"), "skipped", True),
        (NonFiniteLossError(3, float("nan")), "nan", True),
        (NonFiniteStepError("no"), "nan", True),
        (MemoryError(), "oom", True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "oom", True),
        (torch.OutOfMemoryError("CUDA out of memory"), "oom", True),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "oom", True),
        (ImportError("x.so: failed to map segment from shared object"), "oom", True),
    ],
)
def test_failures_with_a_name_become_measurements(tmp_path, monkeypatch, error, status, is_final):
    def fail(job, on_progress):
        raise error

    monkeypatch.setattr(worker, "load_object", lambda name: fail)
    found = run_job(tiny_job(tmp_path, "gate"), FakeChannel())
    assert (found.status, found.is_final) == (status, is_final)
    assert found.reason


def test_other_errors_end_the_worker(tmp_path, monkeypatch):
    def fail(job, on_progress):
        raise RuntimeError("a bug")

    monkeypatch.setattr(worker, "load_object", lambda name: fail)
    with pytest.raises(RuntimeError, match="a bug"):
        run_job(tiny_job(tmp_path, "gate"), FakeChannel())


def test_real_allocation_failure_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(ValueError("shape"))


def test_channel_reads_and_writes_lines():
    events = io.StringIO()
    lines = [b'{"kind": "round"}\n', b'{"kind": "finish"}\n']
    channel = Channel(lines, events, on_end=lambda: None)
    assert [channel.receive(), channel.receive()] == [RoundRequest(), FinishRequest()]
    channel.send(Ready())
    assert events.getvalue() == '{"kind":"ready"}\n'


def test_a_worker_whose_runner_is_gone_ends():
    ends = queue.Queue()
    Channel([], io.StringIO(), on_end=lambda: ends.put("end"))
    assert ends.get(timeout=5) == "end"
