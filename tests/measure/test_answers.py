"""Children that answer, and children that do everything else, which is noticed at once."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from spion_bench.measure import answers
from spion_bench.measure.answers import AnswerError, read_answer

LONG_S = 60.0
WRITE = "import os, sys, time\nwrite = lambda text: os.write(1, text)\n"


@contextmanager
def child(code):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE + code],
        stdout=subprocess.PIPE,
        bufsize=0,
        process_group=0,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_a_line_is_returned_also_of_a_child_that_ended():
    with child("write(b'{'); time.sleep(0.1); write(b'}\\n')") as process:
        assert read_answer(process, LONG_S) == b"{}\n"
    with child("write(b'last\\n')") as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert read_answer(process, LONG_S) == b"last\n"
        with pytest.raises(AnswerError, match="it ended"):
            read_answer(process, LONG_S)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("pass", "it ended"),
        ("write(b'half a li')", "it ended"),
        ("os._exit(3)", "it ended"),
        ("write(b'one\\ntwo'); time.sleep(60)", r"what is no answer: b'one\\ntwo'"),
        # A grandchild holds the pipe and outlives its parent.
        ("os.fork() or time.sleep(60)", "it ended"),
        ("import signal; os.kill(os.getpid(), signal.SIGSTOP)", "it was stopped by a signal"),
    ],
)
def test_what_a_child_does_instead_is_noticed_at_once(code, reason):
    began = time.monotonic()
    with child(code) as process, pytest.raises(AnswerError, match=reason):
        read_answer(process, LONG_S)
    assert time.monotonic() - began < LONG_S / 2  # not waited out; no measurement


def test_a_child_that_dribbles_or_sends_without_end_is_not_waited_for(monkeypatch):
    dribbling, endless = "write(b'x'); time.sleep(0.05)", "write(b'x' * 65536)"
    late, too_long = r"nothing came within 0\.3 s", "what is no answer: b'xxx"
    with child(f"while True: {dribbling}") as process, pytest.raises(AnswerError, match=late):
        read_answer(process, 0.3)
    monkeypatch.setattr(answers, "_MOST_BYTES", 1 << 18)
    with child(f"while True: {endless}") as process, pytest.raises(AnswerError, match=too_long):
        read_answer(process, LONG_S)
