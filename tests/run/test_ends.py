"""However a worker or its runner ends: noticed at once, called by its name, nothing left."""

import os
import signal
import subprocess
import sys
import time

import pytest

from spion_bench.run.child import Child, ChildEndedError
from spion_bench.suite.influence import PACKAGE, ROOT
from tests.cells import tiny_job
from tests.run.workers import SAY, assert_gone

HOLDS_THE_PIPE = (
    "import subprocess\n"
    "subprocess.Popen(['sleep', '60'], pass_fds=[events.fileno()], start_new_session=True)\n"
)


def write(content):
    """Return the lines of a worker that writes bytes as if they were events."""
    return f"os.write(events.fileno(), {content})\n"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (write(b'{"kind": "resu') + "os._exit(3)", "ended with exit code 3"),
        (write(b"garbage\n") + "os._exit(3)", "sent what is no event: 'garbage'"),
        (write(b"\xff\xfe\n") + "time.sleep(60)", "sent what is no event: '\ufffd\ufffd'"),
        (write("b'[' * 10**6 + b'\\n'") + "time.sleep(60)", "sent what is no event: '[[["),
        (write(b'{"kind": "other"}\n') + "time.sleep(60)", "sent what is no event: '{"),
        (HOLDS_THE_PIPE + "os._exit(3)", "ended with exit code 3"),
        (HOLDS_THE_PIPE + "os.kill(os.getpid(), signal.SIGSEGV)", "ended by signal SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGSTOP)", "stopped by signal SIGSTOP"),
    ],
    ids=["partial", "garbled", "no UTF-8", "nested", "unknown", "held", "held, killed", "stopped"],
)
def test_no_end_is_waited_for_until_the_time_is_up(start, body, reason):
    before = time.monotonic()
    child = start(body, timeout_s=100)
    with pytest.raises(ChildEndedError):
        child.receive()
    outcome = child.failure()
    assert outcome.status == "crash"
    assert outcome.reason.startswith(reason)
    assert time.monotonic() - before < 50


def test_a_worker_that_was_stopped_for_a_moment_goes_on(start, monkeypatch):
    monkeypatch.setattr("spion_bench.run.child.STOP_GRACE_S", 3.0)
    child = start("say(str(os.getpid()))\nos.kill(os.getpid(), signal.SIGSTOP)\nsay('on')")
    pid = int(child.receive().message)
    time.sleep(0.2)
    os.kill(pid, signal.SIGCONT)
    assert child.receive().message == "on"


RUNNER = """
import sys, time
from pathlib import Path
from spion_bench.run.child import Child
from tests.cells import tiny_job
folder = Path(sys.argv[1])
job = tiny_job(folder, "gate", timeout_s=100)
child = Child(job, folder / "log", command=(sys.executable, "-P", "-c", sys.argv[2]))
print(child.receive().message, flush=True)
time.sleep(100)
"""
WORKER = f"""
import sys
sys.path[:] = sys.argv[2:]
import json, os, subprocess, time
from spion_bench.run.channel import Channel
Channel(open(0, "rb", buffering=0), sys.stdout)
inner = subprocess.Popen(["sleep", "100"])
{SAY}
say(f"{{os.getpid()}} {{inner.pid}}")
time.sleep(100)
"""


@pytest.mark.parametrize("is_stopped", [False, True], ids=["running", "stopped"])
def test_nothing_outlives_a_killed_runner(tmp_path, is_stopped):
    command = [sys.executable, "-c", RUNNER, str(tmp_path), WORKER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as runner:
        pids = [int(pid) for pid in runner.stdout.readline().split()]
        if is_stopped:
            os.kill(pids[0], signal.SIGSTOP)
        runner.kill()
    assert len(pids) == 2
    assert_gone(*pids)


def test_a_worker_searches_modules_where_its_runner_does_and_not_here(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise SystemExit('the wrong torch')")
    (tmp_path / "spion_bench").mkdir()
    (tmp_path / "spion_bench" / "__init__.py").write_text("raise SystemExit('the wrong package')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    job = tiny_job(tmp_path, "gate", "dense_sdpa")
    child = Child(job, tmp_path / "log")
    started = child.receive()
    child.stop()
    assert (started.code, started.package) == (job.cell.code, str(PACKAGE))
