"""Times of GPU work by CUDA events, with the second cache (L2) cold or warm.

A sample is the time between two events around one call. The GPU must not wait for the host in
between, or the sample would show how fast Python launches kernels. So the GPU is kept busy by a
spin kernel until the host has enqueued the whole call; whether that worked is asked of the first
event, and the spin grows until it does. A call that itself waits for the GPU can never be enqueued
as a whole: it is timed with its waiting, and named in ``host_bound``.

Cold: a buffer far larger than L2 is read before each sample. It is read, not written, because
written lines would have to move to memory while the call is timed. Warm: L2 holds what the setup
and the sample before left in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import torch

from spion_bench.measure.clock import Clock

L2 = Literal["cold", "warm"]

FLUSH_TIMES_L2 = 4
FIRST_SPIN_CYCLES = 200_000  # 0.1 to 0.2 ms
LONGEST_SPIN_CYCLES = 50_000_000  # 25 to 50 ms
MAX_SAMPLES = 50  # of one turn


class CudaTimer:
    """Takes samples of calls that enqueue work on the current stream of one device.

    Attributes:
        l2_bytes: Size of the device's L2.
        flush_bytes: How much is read to clear it.
        host_bound: Names of the calls that waited for the host, or the host for them.

    Args:
        device: The device; its memory holds the buffer that clears L2.
        cuda: What stands for ``torch.cuda``; tests replace it.
        clock: A monotonic clock of the host in seconds.
    """

    def __init__(
        self, device: str = "cuda", cuda: Any = torch.cuda, clock: Clock = time.perf_counter
    ) -> None:
        self._cuda = cuda
        self._clock = clock
        self._spin_cycles: dict[str, int] = {}
        self.l2_bytes = int(cuda.get_device_properties(device).L2_cache_size)
        self.flush_bytes = FLUSH_TIMES_L2 * self.l2_bytes
        self._buffer = torch.zeros(self.flush_bytes // 4, device=device)
        self.host_bound: set[str] = set()

    def warm_up(
        self, call: Callable[[], object], *, seconds: float, setup: Callable[[], object] | None
    ) -> None:
        """Repeat ``call`` until ``seconds`` have passed, at least once, and wait for the GPU."""
        end = self._clock() + seconds
        while True:
            if setup is not None:
                setup()
            call()
            self._cuda.synchronize()
            if self._clock() >= end:
                return

    def sample_ms(
        self,
        name: str,
        call: Callable[[], object],
        *,
        l2: L2,
        seconds: float,
        min_samples: int,
        setup: Callable[[], object] | None = None,
    ) -> list[float]:
        """Time single calls until ``seconds`` have passed and ``min_samples`` were taken.

        A turn ends after ``MAX_SAMPLES`` in any case.

        Args:
            name: The call's name, for ``host_bound`` and for the spin that it was found to need.
            call: The work to time; it need not wait for the GPU.
            l2: Whether L2 is cleared before each call.
            seconds: How long to go on taking samples, in the host's time.
            min_samples: How many samples to take even if that lasts longer than ``seconds``.
            setup: Work to do before each call that is not timed.

        Returns:
            Every sample in milliseconds of the GPU's time, in the order taken.
        """
        samples: list[float] = []
        end = self._clock() + seconds
        while len(samples) < min_samples or (self._clock() < end and len(samples) < MAX_SAMPLES):
            sample = self._sample(name, call, setup, l2)
            if sample is not None:
                samples.append(sample)
        return samples

    def _sample(
        self,
        name: str,
        call: Callable[[], object],
        setup: Callable[[], object] | None,
        l2: L2,
    ) -> float | None:
        """Return one sample, or None if the host was late and the spin can still grow."""
        start, end = (self._cuda.Event(enable_timing=True) for _ in range(2))
        cycles = self._spin_cycles.setdefault(name, FIRST_SPIN_CYCLES)
        if setup is not None:
            setup()
        if l2 == "cold":
            self._buffer.sum()
        self._cuda._sleep(cycles)
        start.record()
        call()
        end.record()
        was_late = start.query()  # the GPU began before everything was enqueued
        end.synchronize()
        if was_late and cycles < LONGEST_SPIN_CYCLES:
            self._spin_cycles[name] = 2 * cycles
            return None
        if was_late:
            self.host_bound.add(name)
        return float(start.elapsed_time(end))
