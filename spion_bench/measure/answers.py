"""Lines that child processes answer with: awaited for a stated time, whatever the child does."""

from __future__ import annotations

import os
import select
import subprocess
import time

_LOOK_S = 0.2
_STOPPED_LOOKS = 5  # stopped for a second, not only while its group is woken
_MOST_BYTES = 1 << 24
_SHOWN = 80
_STATES = os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT


class AnswerError(RuntimeError):
    """A child process gave no answer; the message says how it failed to."""


def read_answer(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """Return the line that a process answers a request with.

    A process that ends or is stopped is noticed at once, also if one that it started holds its
    pipe. Lines are one each: what follows one is an error.

    Args:
        process: The process; its output is a pipe without a buffer on this side.
        seconds: How long to wait.

    Raises:
        AnswerError: If no line comes in time, the process ends or is stopped, or sends more.
    """
    assert process.stdout is not None
    pipe, end, received, n_stopped = process.stdout.fileno(), time.monotonic() + seconds, b"", 0
    while not received.endswith(b"\n"):
        state = _state(process)  # what it wrote before it ended is still read
        n_stopped = n_stopped + 1 if state == os.CLD_STOPPED else 0
        if select.select([pipe], [], [], _LOOK_S)[0]:
            chunk = os.read(pipe, 1 << 16)
            if not chunk:
                raise AnswerError("it ended")
            received += chunk
        elif state not in (None, os.CLD_STOPPED):
            raise AnswerError("it ended")
        elif n_stopped >= _STOPPED_LOOKS:
            raise AnswerError("it was stopped by a signal")
        line, _, rest = received.partition(b"\n")
        if rest or len(line) > _MOST_BYTES:
            raise AnswerError(f"it sent what is no answer: {received[:_SHOWN]!r}")
        if time.monotonic() > end and not received.endswith(b"\n"):
            raise AnswerError(f"nothing came within {seconds:g} s")
    return received


def _state(process: subprocess.Popen[bytes]) -> int | None:
    """Return how a process ended or that it is stopped, as ``os.CLD_...``; None if it runs."""
    try:
        state = os.waitid(os.P_PID, process.pid, _STATES)
    except ChildProcessError:
        return int(os.CLD_EXITED)
    return None if state is None else state.si_code
