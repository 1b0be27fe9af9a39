"""The runner's end of a worker process: start, talk, time out, kill, say why it ended."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from spion_bench.passes.session import Job
from spion_bench.records import Measurement, Status
from spion_bench.records.cell import Stored
from spion_bench.run.messages import (
    EVENTS,
    EndRequest,
    JobRequest,
    Measured,
    Progress,
    Ready,
    Result,
)

AnyEvent = Ready | Measured | Progress | Result

WORKER = (sys.executable, "-m", "spion_bench.run.worker")
SHOWN_LOG_LINES = 3
END_GRACE_S = 5.0


class ChildEndedError(RuntimeError):
    """The worker ended without the event that was awaited."""


class Child:
    """One worker process with a busy-time budget.

    Only the time during which the runner waits for this worker counts against the budget, so a
    worker that waits while others measure does not time out.

    Args:
        job: What the worker is to do.
        log: File that collects what the worker and its libraries print.
        environment: Variables to set in addition to the runner's own.
        command: The worker's command line, to which the number of the file descriptor for its
            events is added; tests replace it.
    """

    def __init__(
        self,
        job: Job,
        log: Path,
        environment: dict[str, str] | None = None,
        command: tuple[str, ...] = WORKER,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log_path = log
        events_in, events_out = os.pipe()
        with log.open("wb") as output, os.fdopen(events_out, "wb"):
            self._process = subprocess.Popen(
                [*command, str(events_out)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[events_out],
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # its own group: Ctrl-C reaches the runner alone
            )
        self._pipe = os.fdopen(events_in, encoding="utf-8")
        self._events: queue.Queue[AnyEvent | None] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.serve(job)

    def serve(self, job: Job) -> None:
        """Give the worker a job and the time for it: its first one, or one after a result."""
        self._timeout_s = job.cell.timeout_s
        self.busy_s = 0.0
        self.send(JobRequest(job=job))

    def send(self, request: Stored) -> None:
        """Send one request; a worker that is gone is noticed at the next ``receive``."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(request.model_dump_json().encode() + b"\n")
            self._process.stdin.flush()

    def receive(self) -> AnyEvent:
        """Wait for the worker's next event.

        Raises:
            TimeoutError: If the worker's budget is used up.
            ChildEndedError: If the worker has ended.
        """
        start = time.monotonic()
        try:
            event = self._events.get(timeout=max(0.0, self._timeout_s - self.busy_s))
        except queue.Empty:
            raise TimeoutError(f"busy for more than {self._timeout_s:g} s") from None
        finally:
            self.busy_s += time.monotonic() - start
        if event is None:
            raise ChildEndedError("the worker ended")
        return event

    @property
    def is_running(self) -> bool:
        """Whether the worker is still there."""
        return self._process.poll() is None

    def finish(self) -> None:
        """Let a worker that gave its result end by itself, then see that it is gone."""
        self.send(EndRequest())
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_GRACE_S)
        self.stop()

    def stop(self) -> None:
        """Kill the worker and everything it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._listener.join()
        self._pipe.close()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a request that was never read
            self._process.stdin.close()

    def failure(self) -> Measurement:
        """Wait for a worker that sent no result and say how it ended."""
        try:
            code = self._process.wait(END_GRACE_S)
        except subprocess.TimeoutExpired:
            return Measurement(status="crash", reason="closed its pipe but did not exit")
        finally:
            self.stop()
        status, reason = classify_exit(code, self._log_tail())
        return Measurement(status=status, reason=reason)

    def _listen(self) -> None:
        for line in self._pipe:
            self._events.put(EVENTS.validate_json(line))
        self._events.put(None)

    def _log_tail(self) -> str:
        lines = self._log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-SHOWN_LOG_LINES:] if line.strip())


def classify_exit(code: int, tail: str) -> tuple[Status, str]:
    """Return the status and reason of a worker that ended without a result.

    Args:
        code: Its exit code; negative for a signal, as ``subprocess`` has it.
        tail: The end of what it printed.
    """
    said = f": {tail}" if tail else ""
    if code == -signal.SIGKILL:
        return "oom", f"killed by the system, most likely because memory ran out{said}"
    if code < 0:
        return "crash", f"ended by signal {signal.Signals(-code).name}{said}"
    return "crash", f"ended with exit code {code}{said}"
