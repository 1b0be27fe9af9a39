"""Commits measured side by side: every side once per round, in fresh order, until it is enough.

BASE has two workers, whose ratio (A/A) shows what noise does. Every round starts new workers, so
what a process gets by chance (addresses, pages, cores) is part of the spread, not of the result.
Within a round, the sides take many short turns, so what changes within seconds changes for all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from statistics import geometric_mean, median
from typing import Any, Protocol

from spion_bench.compare.sides import Side, Worker
from spion_bench.compare.verdict import LEVEL, RULE, Compared, judge
from spion_bench.measure.clock import round_orders
from spion_bench.measure.load import LoadSampler, Sampler
from spion_bench.records.paired import StoppingRule, is_disturbed, paired_ratio

AGAIN = "BASE again"
TURN = {"warmup_s": 0.01, "seconds": 0.04, "min_samples": 1}
LEAST_TURNS = 3  # of each side in a round, each time in another order
SECONDS = 0.6  # that each side is timed in a round, at least


class SideWorker(Protocol):
    """Measures one side, see ``sides.Worker``; tests replace it."""

    def wait_ready(self) -> dict[str, Any]:
        """Wait until it can measure."""

    def turn(self, request: dict[str, Any]) -> dict[str, Any]:
        """Time one case."""

    def end(self) -> None:
        """End it."""


@dataclass
class Measured:
    """What was measured of some cases.

    Attributes:
        values: Milliseconds of each round, by case and side: the mean over its turns.
        problems: Why a case could not be measured.
        rounds: How many rounds were taken.
        disturbed: In how many rounds that count other processes disturbed it, by case.
        repeated: How many were taken again because of that, by case.
    """

    values: dict[str, dict[str, list[float]]]
    problems: dict[str, str] = field(default_factory=dict)
    rounds: int = 0
    disturbed: Counter[str] = field(default_factory=Counter)
    repeated: Counter[str] = field(default_factory=Counter)

    def compare(self, base: str, head: str) -> list[Compared]:
        """Return the verdict on every case that was measured."""
        found = []
        for case, by_side in self.values.items():
            if case in self.problems:
                continue
            ratio = paired_ratio(by_side[head], by_side[base], level=LEVEL)
            null = paired_ratio(by_side[AGAIN], by_side[base], level=LEVEL)
            times = median(by_side[base]), median(by_side[head])
            found.append(Compared(case, judge(ratio, null), ratio, null, *times))
        return found


def measure(
    base: Side,
    heads: Sequence[Side],
    cases: Sequence[str],
    *,
    threads: int,
    seed: int = 0,
    rule: StoppingRule = RULE,
    start: Callable[[Side, int], SideWorker] = Worker,
    sampler: Sampler | None = None,
    on_round: Callable[[int, list[str]], None] = lambda number, cases: None,
) -> Measured:
    """Measure BASE and one or more other sides on some cases.

    Args:
        base: The side that the others are compared with.
        heads: The others.
        cases: What to measure.
        threads: CPU threads of each worker.
        seed: Seed of the orders.
        rule: Says when a case is enough.
        start: Starts a worker.
        sampler: Says what other processes used; the system's by default.
        on_round: Called before each round with its number and the cases that it measures.

    Raises:
        SideError: If a side cannot be measured at all.
    """
    sides = [base, replace(base, name=AGAIN), *heads]
    measured = Measured({case: {side.name: [] for side in sides} for case in cases})
    orders = round_orders([side.name for side in sides], seed=seed)
    sampler = LoadSampler() if sampler is None else sampler
    while True:
        waiting = [
            case
            for case, values in measured.values.items()
            if case not in measured.problems and not rule.is_enough(values, base.name)
        ]
        if not waiting:
            return measured
        measured.rounds += 1
        on_round(measured.rounds, waiting)
        with _started(sides, threads, start) as workers:
            for case in waiting:
                while not _take(measured, case, orders, workers, sampler, rule):
                    measured.repeated[case] += 1


def _take(
    measured: Measured,
    case: str,
    orders: Iterator[list[str]],
    workers: dict[str, SideWorker],
    sampler: Sampler,
    rule: StoppingRule,
) -> bool:
    """Take one round of a case; return whether it counts: else it was disturbed."""
    taken: dict[str, list[float]] = {name: [] for name in workers}
    timed_ms = 0.0
    sampler.start()
    for turns, order in enumerate(orders, start=1):
        for name in order:
            answer = workers[name].turn({"case": case, **TURN})
            if "problem" in answer:
                measured.problems[case] = f"{name}: {answer['problem']}"
                return True
            taken[name].append(median(answer["samples_ms"]))
            timed_ms += sum(answer["samples_ms"])
        if turns >= LEAST_TURNS and timed_ms >= 1e3 * SECONDS * len(order):
            break
    if is_disturbed(sampler.stop(), sampler.cpus):
        if measured.repeated[case] < rule.most_repeats:
            return False
        measured.disturbed[case] += 1
    # Geometric means: the ratio of two sides is the mean of their turns' ratios.
    for name, values in taken.items():
        measured.values[case][name].append(geometric_mean(values))
    return True


@contextmanager
def _started(
    sides: Sequence[Side], threads: int, start: Callable[[Side, int], SideWorker]
) -> Iterator[dict[str, SideWorker]]:
    workers: dict[str, SideWorker] = {}
    try:
        for side in sides:
            workers[side.name] = start(side, threads)
        for worker in workers.values():
            worker.wait_ready()
        yield workers
    finally:
        for worker in workers.values():
            worker.end()
