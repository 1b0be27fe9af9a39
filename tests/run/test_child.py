import os
import signal
import sys
import time

import pytest

from spion_bench.run.child import Child, ChildEndedError, classify_exit
from spion_bench.run.messages import RoundRequest
from tests.cells import tiny_job

# Workers that need no torch: they read the job line and then do what the test is about.
HEAD = "import json, os, signal, sys, time\njob = json.loads(sys.stdin.readline())['job']\n"
SAY = (
    "events = os.fdopen(int(sys.argv[1]), 'w')\n"
    "def say(text):\n"
    "    event = dict(kind='progress', phase='dense', step=1, total_steps=2, message=text)\n"
    "    print(json.dumps(event), file=events, flush=True)\n"
)


@pytest.fixture
def start(tmp_path):
    children = []

    def start(body, *, timeout_s=20.0, environment=None):
        job = tiny_job(tmp_path, "gate", timeout_s=timeout_s)
        command = (sys.executable, "-c", HEAD + SAY + body)
        child = Child(job, tmp_path / "logs" / "x.log", environment, command)
        children.append(child)
        return child

    yield start
    for child in children:
        child.stop()


def test_job_and_events_travel(start):
    child = start("say(job['cell']['key'])\nsay(sys.stdin.readline())")
    assert child.receive().message.startswith("gate-image256")
    child.send(RoundRequest())
    assert child.receive().message == '{"kind":"round"}\n'


def test_environment_is_added_to_the_runners(start):
    child = start(
        "say(os.environ['MALLOC_ARENA_MAX'] + ' ' + os.environ['PATH'])",
        environment={"MALLOC_ARENA_MAX": "1"},
    )
    assert child.receive().message == f"1 {os.environ['PATH']}"


def test_a_worker_that_says_nothing_times_out(start):
    child = start("time.sleep(60)", timeout_s=0.2)
    with pytest.raises(TimeoutError, match=r"busy for more than 0\.2 s"):
        child.receive()


def test_only_waiting_counts_as_busy(start):
    child = start("say('a')\nsay('b')", timeout_s=20)
    child.receive()
    busy = child.busy_s
    time.sleep(0.3)
    child.receive()
    assert child.busy_s - busy < 0.25


def test_exit_code_and_log_tail_make_the_reason(start):
    child = start("print('all went well until', file=sys.stderr)\nraise ValueError('the end')")
    with pytest.raises(ChildEndedError):
        child.receive()
    outcome = child.failure()
    assert outcome.status == "crash"
    assert outcome.reason.startswith("ended with exit code 1: ")
    assert outcome.reason.endswith("ValueError: the end")


@pytest.mark.parametrize(
    ("number", "status", "reason"),
    [
        (signal.SIGKILL, "oom", "killed by the system, most likely because memory ran out"),
        (signal.SIGSEGV, "crash", "ended by signal SIGSEGV"),
    ],
)
def test_signals_are_named(start, number, status, reason):
    child = start(f"os.kill(os.getpid(), {int(number)})")
    with pytest.raises(ChildEndedError):
        child.receive()
    outcome = child.failure()
    assert (outcome.status, outcome.reason) == (status, reason)


def test_stop_kills_what_the_worker_started(start):
    child = start(
        "import subprocess\n"
        "inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "say(str(inner.pid))\ntime.sleep(60)"
    )
    pid = int(child.receive().message)
    child.stop()
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(pid)


def test_closing_its_pipe_without_ending_is_a_failure_too(start, monkeypatch):
    monkeypatch.setattr("spion_bench.run.child.END_GRACE_S", 0.1)
    child = start("events.close()\ntime.sleep(60)")
    with pytest.raises(ChildEndedError):
        child.receive()
    outcome = child.failure()
    assert (outcome.status, outcome.reason) == ("crash", "closed its pipe but did not exit")


def test_sending_to_a_worker_that_is_gone_is_noticed_at_the_next_receive(start):
    child = start("")
    with pytest.raises(ChildEndedError):
        child.receive()
    child.send(RoundRequest())


def test_what_a_worker_prints_is_not_among_its_events_but_in_the_log(start, tmp_path):
    child = start("print('{}')\nsay('a')\nos.write(2, b'oops')\nsys.exit(1)")
    assert child.receive().message == "a"
    with pytest.raises(ChildEndedError):
        child.receive()
    assert "oops" in child.failure().reason
    assert "{}" in (tmp_path / "logs" / "x.log").read_text()


def test_silence_before_the_end_leaves_no_colon():
    assert classify_exit(3, "") == ("crash", "ended with exit code 3")


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
