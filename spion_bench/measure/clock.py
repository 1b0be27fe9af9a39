"""Wall-clock timing of callables: warm-up by time, every sample kept, methods interleaved.

A timed call must have finished its work when it returns; a caller that runs on an asynchronous
device synchronises inside the call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from spion_bench.records.settings import MeasureSettings

Clock = Callable[[], float]

MAX_SAMPLES = 1000  # of one turn: more would only make the record of a microsecond call unwieldy


def warm_up(call: Callable[[], object], *, seconds: float, clock: Clock = time.perf_counter) -> int:
    """Repeat ``call`` until ``seconds`` have passed, at least once; return how often it ran."""
    end = clock() + seconds
    count = 0
    while count == 0 or clock() < end:
        call()
        count += 1
    return count


def sample_ms(
    call: Callable[[], object],
    *,
    seconds: float,
    min_samples: int,
    clock: Clock = time.perf_counter,
) -> list[float]:
    """Time single calls until ``seconds`` have passed and ``min_samples`` were taken.

    A turn ends after ``MAX_SAMPLES`` in any case.

    Args:
        call: The work to time; it synchronises its device itself.
        seconds: How long to go on taking samples.
        min_samples: How many samples to take even if that lasts longer than ``seconds``.
        clock: A monotonic clock in seconds.

    Returns:
        Every sample in milliseconds, in the order taken.
    """
    samples: list[float] = []
    end = clock() + seconds
    while len(samples) < min_samples or (clock() < end and len(samples) < MAX_SAMPLES):
        start = clock()
        call()
        samples.append((clock() - start) * 1e3)
    return samples


def sample_calls(
    calls: Mapping[str, Callable[[], object]], settings: MeasureSettings
) -> dict[str, list[float]]:
    """Return one turn's samples of every call by its name, each taken after a warm-up."""
    samples = {}
    for name, call in calls.items():
        warm_up(call, seconds=settings.warmup_s)
        samples[name] = sample_ms(call, seconds=settings.round_s, min_samples=settings.min_samples)
    return samples


def round_orders(names: Iterable[str], *, seed: int) -> Iterator[list[str]]:
    """Yield random orders of ``names``, one for each round, without end.

    Methods that take turns in random order share slow drifts of the machine (heat, neighbours)
    equally, so their ratios stay fair.
    """
    generator = np.random.default_rng(seed)
    ordered = sorted(names)
    while True:
        yield [ordered[i] for i in generator.permutation(len(ordered))]
