"""The GPU's state while a cell is measured, sampled from a second process.

A thread of the measuring process would take the interpreter's lock from the loop that launches
kernels. The other process imports no torch and reads only while a window is open.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from pydantic import TypeAdapter

from spion_bench.measure.answers import AnswerError, read_answer
from spion_bench.measure.gpu_sampler import BEGIN, END, Window
from spion_bench.records.metric import GpuReadings, GpuRound, Spread

INTERVAL_S = 0.02
LONG_INTERVAL_S = 0.5  # of training, which takes minutes to days
ANSWER_S = 20.0  # more than starting Python and NVML takes
UNITS = {"power_mw": ("power_w", 1e-3)}
WINDOW = TypeAdapter(Window)
BOOT = (
    "import sys; n = int(sys.argv[1]); sys.path[:] = sys.argv[2 + n:]; del sys.argv[2 + n:], "
    "sys.argv[1]; from spion_bench.measure.gpu_sampler import main; main()"
)


class GpuWatch:
    """Samples one GPU in windows; use it in a ``with`` statement.

    A sampler that cannot start, ends or does not answer is no error of the measurement: there are
    no readings then, and a reason.

    Args:
        uuid: The GPU's number as torch has it, without prefix.
        interval_s: Seconds between readings.
        with_memory: Whether to read how much of its memory this process has.
    """

    def __init__(
        self, uuid: str, interval_s: float = INTERVAL_S, *, with_memory: bool = False
    ) -> None:
        self._interval_s = interval_s
        self._windows: list[Window] = []
        self._problem: str | None = None
        arguments = [uuid, str(interval_s), *([str(os.getpid())] if with_memory else [])]
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", BOOT, str(len(arguments)), *arguments, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
            )
        except OSError as error:
            self._problem = f"the sampling process does not start: {error}"

    def __enter__(self) -> GpuWatch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()  # ends the sampler
        try:
            self._process.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @contextmanager
    def window(self) -> Iterator[None]:
        """Sample while the enclosed work runs."""
        self._ask(BEGIN)
        yield
        found = self._ask(END)
        self._windows.append(found)

    def forget_last(self) -> None:
        """Forget the last window, whose work is to be done again."""
        self._windows.pop()

    def last_round(self) -> GpuRound:
        """Return how fast the GPU was in the last window, and what slowed it down."""
        last = self._windows[-1]
        clocks = last.values.get("sm_clock_mhz")
        return GpuRound(
            sm_clock_mhz=None if clocks is None else statistics.median(Counter(clocks).elements()),
            throttle_reasons=None if last.reasons is None else sorted(last.reasons),
        )

    def process_peak_bytes(self) -> int | None:
        """Return the most memory that this process had in any window; None if unknown."""
        peaks = [w.process_peak_bytes for w in self._windows if w.process_peak_bytes is not None]
        return max(peaks, default=None)

    def readings(self) -> GpuReadings:
        """Return all windows together."""
        windows = self._windows
        count, idle = sum(w.readings for w in windows), sum(w.idle for w in windows)
        problem = next((w.problem for w in windows if w.problem is not None), None)
        if problem is None and count == 0:
            problem = (
                f"no reading while it worked, one every {self._interval_s:g} s: "
                f"{idle} found it idle"
            )
        values: dict[str, Counter[int]] = {}
        for window in windows:
            for name, counts in window.values.items():
                values.setdefault(name, Counter()).update(counts)
        spreads = {}
        for name, counted in values.items():
            field, factor = UNITS.get(name, (name, 1.0))
            spreads[field] = _spread(counted, factor)
        known = [window.reasons for window in windows if window.reasons is not None]
        return GpuReadings(
            readings=count,
            idle=idle,
            interval_s=self._interval_s,
            **spreads,
            throttle_reasons=sorted({name for each in known for name in each}) if known else None,
            throttled=sum(window.throttled for window in windows) if known else None,
            is_mig=any(window.is_mig for window in windows),
            problems={k: v for window in windows for k, v in window.problems.items()},
            problem=problem,
        )

    def _ask(self, request: bytes) -> Window:
        if self._problem is None:
            try:
                found = self._answer(request)
                self._problem = found.problem
                return found
            # Of validation, ValueError: the line is no window.
            except (OSError, AnswerError, ValueError) as error:
                said = str(error).splitlines()[0]
                self._problem = f"the sampling process does not answer: {said}"
        return Window(problem=self._problem)

    def _answer(self, request: bytes) -> Window:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(request)
        return WINDOW.validate_json(read_answer(self._process, ANSWER_S))


class NoGpu:
    """Stands for a ``GpuWatch`` where no GPU is measured."""

    def __enter__(self) -> NoGpu:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    @contextmanager
    def window(self) -> Iterator[None]:
        """Sample nothing."""
        yield

    def forget_last(self) -> None:
        """Do nothing."""

    def last_round(self) -> None:
        """Return None: there is no GPU."""

    def process_peak_bytes(self) -> None:
        """Return None: there is no GPU."""

    def readings(self) -> None:
        """Return None: there is no GPU."""


def torch_uuid(index: int = 0) -> str:
    """Return the number of torch's GPU ``index``; NVML may count GPUs in another order."""
    return str(torch.cuda.get_device_properties(index).uuid)


def _spread(counts: Counter[int], factor: float) -> Spread:
    median = statistics.median(counts.elements())
    return Spread(lowest=min(counts) * factor, median=median * factor, highest=max(counts) * factor)
