"""The runner's end of a worker process: start, talk, time out, kill, say why it ended."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from spion_bench.measure.machine import memory_kills
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
    Started,
)
from spion_bench.suite.influence import ROOT
from spion_bench.suite.passes import time_limit

AnyEvent = Started | Ready | Measured | Progress | Result

# A worker searches modules where its runner does, and not in the current folder.
BOOT = "import sys; sys.path[:] = sys.argv[2:]; from spion_bench.run.worker import main; main()"
WORKER = (sys.executable, "-P", "-c", BOOT)
SHOWN_LOG_LINES = 3
SHOWN_CHARACTERS = 80
END_GRACE_S = 5.0
STOP_GRACE_S = 1.0
CHUNK_BYTES = 1 << 16


class ChildEndedError(RuntimeError):
    """The worker ended without the event that was awaited."""


class Child:
    """One worker process with a busy-time budget.

    Only the time during which the runner waits for this worker counts against the budget, so a
    worker that waits while others measure does not time out. A worker that ends, stops or sends
    what is no event is noticed at once, whoever else still holds its pipe.

    Args:
        job: What the worker is to do.
        log: File that collects what the worker and its libraries print.
        environment: The worker's environment variables; None: the runner's own.
        command: The worker's command line, to which the number of the file descriptor for its
            events is added, and the folders of modules; tests replace it.
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
        self._kills = memory_kills()
        self._problem: str | None = None
        self._pipe, events_out = os.pipe()
        self._over, self._over_out = os.pipe()
        with log.open("wb") as output, os.fdopen(events_out, "wb"):
            self._process = subprocess.Popen(
                [*command, str(events_out), *module_path()],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[events_out],
                env=environment,
                # Its own group: Ctrl-C reaches the runner alone. Still the runner's session: the
                # system wakes and hangs up a stopped group when the runner in its session dies.
                process_group=0,
            )
        self._events: queue.Queue[AnyEvent | KeyboardInterrupt | None] = queue.Queue()
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._watch, self._listen)
        ]
        for thread in self._threads:
            thread.start()
        self.serve(job)

    def serve(self, job: Job) -> None:
        """Give the worker a job and the time for it: its first one, or one after a result."""
        self.busy_s = 0.0
        self.allow(time_limit(job.cell))
        self.send(JobRequest(job=job))

    def allow(self, seconds: float) -> None:
        """Let the worker be busy for so long from now on: for a job, or a round of it."""
        self._allowed_s = seconds
        self._limit_s = self.busy_s + seconds

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
            KeyboardInterrupt: If ``interrupt`` was called.
        """
        start = time.monotonic()
        try:
            event = self._events.get(timeout=max(0.0, self._limit_s - self.busy_s))
        except queue.Empty:
            raise TimeoutError(f"busy for more than {self._allowed_s:g} s") from None
        finally:
            self.busy_s += time.monotonic() - start
        if event is None:
            raise ChildEndedError("the worker ended")
        if isinstance(event, KeyboardInterrupt):
            raise event
        return event

    def interrupt(self) -> None:
        """Do to the thread that waits for the worker what Ctrl-C does to the main thread."""
        self._events.put(KeyboardInterrupt())

    @property
    def is_running(self) -> bool:
        """Whether the worker is still there, and not stopped."""
        watch, _ = self._threads
        return watch.is_alive()

    def finish(self) -> None:
        """Let a worker that gave its result end by itself, then see that it is gone."""
        self.send(EndRequest())
        self._wait()
        self.stop()

    def stop(self) -> None:
        """Kill the worker and everything it started."""
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for thread in self._threads:
            thread.join()
        self._process.wait()  # only now may another process get its number
        for descriptor in (self._pipe, self._over):
            os.close(descriptor)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a request that was never read
            self._process.stdin.close()

    def failure(self) -> Measurement:
        """Wait for a worker that sent no result and say how it ended."""
        if self._problem is None:
            self._wait()
        is_over = not self.is_running
        self.stop()
        if self._problem is not None:
            return Measurement(status="crash", reason=self._problem)
        if not is_over:
            return Measurement(status="crash", reason="closed its pipe but did not exit")
        kills = memory_kills()
        is_known = kills is not None and self._kills is not None
        status, reason = classify_exit(
            self._process.returncode,
            self._log_tail(),
            spared=is_known and kills == self._kills,
        )
        return Measurement(status=status, reason=reason)

    def _wait(self) -> None:
        """Give the worker a moment to end; it stays a zombie, so its number stays its own."""
        watch, _ = self._threads
        watch.join(END_GRACE_S)

    def _watch(self) -> None:
        """Wait until the worker ends, or is stopped for long, then tell the listener."""
        end = os.WEXITED | os.WSTOPPED | os.WNOWAIT
        while os.waitid(os.P_PID, self._process.pid, end).si_code == os.CLD_STOPPED:  # type: ignore[union-attr]
            time.sleep(STOP_GRACE_S)
            state = os.waitid(os.P_PID, self._process.pid, end | os.WNOHANG)
            if state is not None and state.si_code == os.CLD_STOPPED:
                self._problem = f"stopped by signal {signal.Signals(state.si_status).name}"
                break
        os.close(self._over_out)

    def _listen(self) -> None:
        """Pass events on until the worker is over or sends what is no event."""
        received = b""
        poll = select.poll()
        for descriptor in (self._pipe, self._over):
            poll.register(descriptor, select.POLLIN)
        while self._problem is None:
            if self._pipe not in {descriptor for descriptor, _ in poll.poll()}:
                break  # over, and nothing is left to read
            chunk = os.read(self._pipe, CHUNK_BYTES)
            if not chunk:
                break
            *lines, received = (received + chunk).split(b"\n")
            for line in lines:
                self._pass_on(line)
        self._events.put(None)

    def _pass_on(self, line: bytes) -> None:
        if self._problem is not None:
            return
        try:
            self._events.put(EVENTS.validate_json(line))
        except ValueError:
            shown = line[:SHOWN_CHARACTERS].decode(errors="replace")
            self._problem = f"sent what is no event: {shown!r}"

    def _log_tail(self) -> str:
        lines = self._log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-SHOWN_LOG_LINES:] if line.strip())


def module_path() -> list[str]:
    """Return where the runner searches modules, without the current folder unless it runs there."""
    folders = [Path(folder).resolve() for folder in sys.path]
    here = Path.cwd().resolve()
    return [str(folder) for folder in folders if folder == ROOT or folder != here]


def classify_exit(code: int, tail: str, *, spared: bool = False) -> tuple[Status, str]:
    """Return the status and reason of a worker that ended without a result.

    Args:
        code: Its exit code; negative for a signal, as ``subprocess`` has it.
        tail: The end of what it printed.
        spared: Whether the system killed no process for its memory while the worker ran.
    """
    said = f": {tail}" if tail else ""
    if code == -signal.SIGKILL and not spared:
        return "oom", f"killed by the system, most likely because memory ran out{said}"
    if code == -signal.SIGKILL:
        return "crash", f"killed with SIGKILL, but not because memory ran out{said}"
    if code < 0:
        return "crash", f"ended by signal {signal.Signals(-code).name}{said}"
    return "crash", f"ended with exit code {code}{said}"
