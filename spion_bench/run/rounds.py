"""Rounds: the subjects of a turn measure one after another, in fresh order, until it is enough.

The baseline has two workers, which both run in every round: their ratio, A/A, shows what noise
does. A round in which other processes used the CPUs, or in which the GPU was slowed down, is taken
again, up to a bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from spion_bench.measure.clock import round_orders
from spion_bench.measure.load import Sampler
from spion_bench.records import GpuRound, Load, Metric
from spion_bench.records.paired import (
    StoppingRule,
    aa_metric,
    is_disturbed,
    marks_of,
    slowed_rounds,
)
from spion_bench.run.messages import Measured

Ask = Callable[[str, int, bool], Measured | None]
"""Called with a subject, the number of the round and whether it repeats one; returns what the
subject measured, or None once it is gone."""


@dataclass
class Rounds:
    """The rounds of one turn.

    Attributes:
        subjects: Who takes part, besides the baseline's second worker.
        baseline: The subject that the others are compared with.
        second: The baseline's second worker.
        rule: Says when it is enough.
        sampler: Samples the load of other processes; None where neither load nor a slower GPU
            changes a number.
        count: How many rounds count so far.
        gpu_repeats: How many were taken again because the GPU was slowed down.
        clock: Seconds; tests replace it.
        is_cut: Whether time ran out before it was enough.
    """

    subjects: Sequence[str]
    baseline: str
    second: str
    rule: StoppingRule
    sampler: Sampler | None = None
    clock: Callable[[], float] = time.monotonic
    count: int = 0
    gpu_repeats: int = 0
    is_cut: bool = False
    _values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    _others: list[float | None] = field(default_factory=list)
    _repeated: list[float] = field(default_factory=list)
    _gpu: dict[str, list[GpuRound]] = field(default_factory=dict)
    _spent: dict[str, list[float]] = field(default_factory=dict)

    def take(self, ask: Ask, seed: int) -> None:
        """Take rounds until the rule says that it is enough, time runs out, or none is left."""
        orders = round_orders([*self.subjects, self.second], seed=seed)
        gone: set[str] = set()
        while not gone.issuperset(self.subjects) and not self._is_enough():
            if not self.rule.has_time(self._spent):
                self.is_cut = True
                return
            taken, others = self._take_one(ask, orders, gone)
            self.count += 1
            self._others.append(others)
            for subject, measured in taken.items():
                if measured.gpu is not None:
                    self._gpu.setdefault(subject, []).append(measured.gpu)
                for metric, value in measured.values.items():
                    self._values.setdefault(metric, {}).setdefault(subject, []).append(value)

    def _take_one(
        self, ask: Ask, orders: Iterator[list[str]], gone: set[str]
    ) -> tuple[dict[str, Measured], float | None]:
        repeats = False
        while True:
            taken = {}
            if self.sampler is not None:
                self.sampler.start()
            for subject in next(orders):
                start = self.clock()
                measured = None if subject in gone else ask(subject, self.count + 1, repeats)
                if measured is None:
                    gone.add(subject)
                    self._spent.pop(subject, None)
                else:
                    taken[subject] = measured
                    self._spent.setdefault(subject, []).append(self.clock() - start)
            if self.sampler is None:
                return taken, None
            others = self.sampler.stop()
            repeated = len(self._repeated) + self.gpu_repeats
            may_repeat = repeated < self.rule.most_repeats and self.rule.has_time(self._spent)
            if not taken or not may_repeat:
                return taken, others
            if others is not None and is_disturbed(others, self.sampler.cpus):
                self._repeated.append(others)
            elif self._is_slowed(taken):
                self.gpu_repeats += 1
            else:
                return taken, others
            repeats = True

    def _is_slowed(self, taken: Mapping[str, Measured]) -> bool:
        """Return whether the GPU was slowed down for any subject in the round just taken."""
        return any(
            measured.gpu is not None
            and slowed_rounds([*self._gpu.get(subject, []), measured.gpu])[-1]
            for subject, measured in taken.items()
        )

    def _is_enough(self) -> bool:
        if self.count == 0:
            return False
        for by_subject in self._values.values():
            whole = {name: values for name, values in by_subject.items() if self._is_whole(values)}
            baseline = self.baseline if self.baseline in whole else next(iter(whole), None)
            if baseline is not None and not self.rule.is_enough(whole, baseline):
                return False
        return True

    def _is_whole(self, values: Sequence[float]) -> bool:
        return len(values) == self.count

    def aa(self) -> dict[str, Metric]:
        """Return the A/A ratio of every metric of the baseline."""
        found = {}
        for metric, by_subject in self._values.items():
            first, second = (by_subject.get(name, []) for name in (self.baseline, self.second))
            if self._is_whole(first) and self._is_whole(second):
                found[metric] = aa_metric(second, first)
        return found

    def load(self) -> Load | None:
        """Return what other processes used; None if that was not or could not be sampled."""
        others = [used for used in self._others if used is not None]
        if self.sampler is None or len(others) < self.count:
            return None
        return Load(cpus=self.sampler.cpus, others=others, repeated=self._repeated)

    def marks(self) -> list[str]:
        """Return why the turn's numbers take no part in a headline."""
        if self.sampler is None:  # memory, which neither load nor clocks change
            return marks_of(self.count, self.aa(), Load(cpus=1), time_limit=self.is_cut)
        return marks_of(self.count, self.aa(), self.load(), self._gpu, time_limit=self.is_cut)
