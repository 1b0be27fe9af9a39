import signal
import threading
import time

import pytest

from spion_bench.run.child import ChildEndedError, classify_exit
from spion_bench.run.messages import RoundRequest
from tests.run.workers import assert_gone


def test_job_and_events_travel(start):
    child = start("say(job['cell']['key'])\nsay(sys.stdin.readline())")
    assert child.receive().message.startswith("gate-image256")
    child.send(RoundRequest())
    assert child.receive().message == '{"kind":"round","repeats":false}\n'


def test_a_worker_has_the_environment_that_it_is_given(start):
    child = start(
        "say(os.environ['MALLOC_ARENA_MAX'] + ' ' + os.environ.get('PATH', 'none'))",
        environment={"MALLOC_ARENA_MAX": "1"},
    )
    assert child.receive().message == "1 none"


def test_a_worker_that_says_nothing_times_out(start):
    child = start("time.sleep(60)", timeout_s=0.2)
    with pytest.raises(TimeoutError, match=r"busy for more than 0\.2 s"):
        child.receive()


def test_a_thread_that_waits_is_interrupted(start):
    child = start("time.sleep(60)")
    threading.Timer(0.1, child.interrupt).start()
    with pytest.raises(KeyboardInterrupt):
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


OUT_OF_MEMORY = "killed by the system, most likely because memory ran out"


@pytest.mark.parametrize(
    ("number", "kills", "status", "reason"),
    [
        (signal.SIGKILL, (4, 5), "oom", OUT_OF_MEMORY),
        (signal.SIGKILL, (None, None), "oom", OUT_OF_MEMORY),
        (signal.SIGKILL, (4, 4), "crash", "killed with SIGKILL, but not because memory ran out"),
        (signal.SIGSEGV, (4, 4), "crash", "ended by signal SIGSEGV"),
        (signal.SIGTERM, (4, 4), "crash", "ended by signal SIGTERM"),
    ],
)
def test_signals_are_named(start, monkeypatch, number, kills, status, reason):
    readings = iter(kills)
    monkeypatch.setattr("spion_bench.run.child.memory_kills", lambda: next(readings))
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
    assert_gone(pid)


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
