import io
import json
import os
import queue

import pytest
import torch

from spion_bench.model.attention import UnsupportedError
from spion_bench.passes.gate.oracle import GateResult
from spion_bench.passes.subject import MissingDataError
from spion_bench.passes.training_step import NonFiniteStepError
from spion_bench.run import worker
from spion_bench.run.messages import Outcome
from spion_bench.run.worker import Channel, is_out_of_memory, run_job
from spion_bench.train import NonFiniteLossError, ProgressEvent
from tests.cells import tiny_job


class FakeChannel:
    """Answers with the given requests and notes the events."""

    def __init__(self, *requests):
        self.requests = [{"request": name} for name in requests]
        self.events = []

    def receive(self):
        return self.requests.pop(0)

    def send(self, event, **content):
        self.events.append({"event": event, **content})


class FakeSession:
    """Counts rounds; its gate can be closed."""

    def __init__(self, reason=None):
        self.reason = reason
        self.checks = self.rounds = 0

    def check(self):
        self.checks += 1
        return GateResult({"out": 0.5}, self.reason)

    def measure(self):
        self.rounds += 1

    def outcome(self):
        return Outcome(status="ok", settings={"rounds": self.rounds})


@pytest.fixture
def run(tmp_path, monkeypatch):
    def run(session, *requests, pass_name="speed", method="spion_cf", check_first=False):
        monkeypatch.setitem(worker.SESSIONS, pass_name, lambda job: session)
        channel = FakeChannel(*requests)
        job = tiny_job(tmp_path, pass_name, method).model_copy(update={"check_first": check_first})
        return run_job(job, channel), [event["event"] for event in channel.events]

    return run


def test_a_session_measures_one_round_per_request(run):
    session = FakeSession()
    outcome, events = run(session, "round", "round", "finish")
    assert outcome.settings["rounds"] == 2
    assert events == ["ready", "measured", "measured"]
    assert session.checks == 0
    assert outcome.gate_errors == {}


def test_a_method_without_a_gate_cell_is_checked_first(run):
    outcome, _ = run(FakeSession(), "finish", check_first=True)
    assert outcome.gate_errors == {"out": 0.5}


def test_kernels_are_always_checked_first(run):
    session = FakeSession()
    run(session, "finish", pass_name="kernel", method="pipeline")
    assert session.checks == 1


def test_a_closed_gate_gives_no_number(run):
    session = FakeSession("out is off")
    outcome, events = run(session, check_first=True)
    assert (outcome.status, outcome.reason, events) == ("gate_failed", "out is off", [])
    assert outcome.gate_errors == {"out": 0.5}
    assert session.rounds == 0


def test_progress_events_are_sent_on(tmp_path, monkeypatch):
    event = ProgressEvent("dense", 3, 10, 1.5)

    def measure(job, progress):
        progress(event)
        return Outcome(status="ok")

    monkeypatch.setattr(worker, "measure_accuracy", measure)
    channel = FakeChannel()
    assert run_job(tiny_job(tmp_path, "accuracy"), channel).status == "ok"
    assert channel.events == [
        {
            "event": "progress",
            "phase": "dense",
            "step": 3,
            "total_steps": 10,
            "loss": 1.5,
            "dev_accuracy": None,
            "message": None,
        }
    ]


def test_gate_and_memory_cells_go_to_their_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "run_gate", lambda job: Outcome(status="ok", reason="gate"))
    monkeypatch.setattr(worker, "measure_memory", lambda job: Outcome(status="ok", reason="mem"))
    assert run_job(tiny_job(tmp_path, "gate"), FakeChannel()).reason == "gate"
    assert run_job(tiny_job(tmp_path, "memory"), FakeChannel()).reason == "mem"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnsupportedError("no"), "unsupported"),
        (MissingDataError("no"), "skipped"),
        (NonFiniteLossError(3, float("nan")), "nan"),
        (NonFiniteStepError("no"), "nan"),
        (MemoryError(), "oom"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 GB"), "oom"),
        (torch.OutOfMemoryError("CUDA out of memory"), "oom"),
    ],
)
def test_failures_with_a_name_become_outcomes(tmp_path, monkeypatch, error, status):
    def fail(job):
        raise error

    monkeypatch.setattr(worker, "run_gate", fail)
    outcome = run_job(tiny_job(tmp_path, "gate"), FakeChannel())
    assert outcome.status == status
    assert outcome.reason


def test_other_errors_end_the_worker(tmp_path, monkeypatch):
    def fail(job):
        raise RuntimeError("a bug")

    monkeypatch.setattr(worker, "run_gate", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        run_job(tiny_job(tmp_path, "gate"), FakeChannel())


def test_real_allocation_failure_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(ValueError("shape"))


def test_channel_reads_and_writes_lines(monkeypatch):
    monkeypatch.setattr(os, "_exit", lambda code: None)
    events = io.StringIO()
    channel = Channel([b'{"a": 1}\n', b'{"a": 2}\n'], events)
    assert [channel.receive()["a"], channel.receive()["a"]] == [1, 2]
    channel.send("ready", x=1)
    assert json.loads(events.getvalue()) == {"event": "ready", "x": 1}


def test_a_worker_whose_runner_is_gone_ends(monkeypatch):
    exits = queue.Queue()
    monkeypatch.setattr(os, "_exit", exits.put)
    Channel([], io.StringIO())
    assert exits.get(timeout=5) == 1
