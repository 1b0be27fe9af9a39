"""Rounds: the subjects of a turn measure one after another, in fresh order, until it is enough.

The baseline has two workers, which both run in every round: their ratio, A/A, shows what noise
does. A round in which other processes used the CPUs is taken again, up to a bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from spion_bench.measure.clock import round_orders
from spion_bench.records import Load, Metric
from spion_bench.records.paired import StoppingRule, aa_metric, is_disturbed, marks_of

Ask = Callable[[str, int, bool], dict[str, float] | None]
"""Called with a subject, the number of the round and whether it repeats one; returns the subject's
number of each metric, or None once it is gone."""


class Sampler(Protocol):
    """Says how many cores other processes used, see ``measure.load``."""

    cpus: int

    def start(self) -> None:
        """Begin a round."""

    def stop(self) -> float | None:
        """Return the cores that others used in it."""


@dataclass
class Rounds:
    """The rounds of one turn.

    Attributes:
        subjects: Who takes part, besides the baseline's second worker.
        baseline: The subject that the others are compared with.
        second: The baseline's second worker.
        rule: Says when it is enough.
        sampler: Samples the load of other processes; None where load changes no number.
        count: How many rounds count so far.
    """

    subjects: Sequence[str]
    baseline: str
    second: str
    rule: StoppingRule
    sampler: Sampler | None = None
    count: int = 0
    _values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    _others: list[float | None] = field(default_factory=list)
    _repeated: list[float] = field(default_factory=list)

    def take(self, ask: Ask, seed: int) -> None:
        """Take rounds until the rule says that it is enough, or no subject is left."""
        orders = round_orders([*self.subjects, self.second], seed=seed)
        gone: set[str] = set()
        while not gone.issuperset(self.subjects) and not self._is_enough():
            taken, others = self._take_one(ask, orders, gone)
            self.count += 1
            self._others.append(others)
            for subject, numbers in taken.items():
                for metric, value in numbers.items():
                    self._values.setdefault(metric, {}).setdefault(subject, []).append(value)

    def _take_one(
        self, ask: Ask, orders: Iterator[list[str]], gone: set[str]
    ) -> tuple[dict[str, dict[str, float]], float | None]:
        repeats = False
        while True:
            taken = {}
            if self.sampler is not None:
                self.sampler.start()
            for subject in next(orders):
                numbers = None if subject in gone else ask(subject, self.count + 1, repeats)
                if numbers is None:
                    gone.add(subject)
                else:
                    taken[subject] = numbers
            others = None if self.sampler is None else self.sampler.stop()
            may_repeat = len(self._repeated) < self.rule.most_repeats and bool(taken)
            if others is None or not (self._is_disturbed(others) and may_repeat):
                return taken, others
            self._repeated.append(others)
            repeats = True

    def _is_disturbed(self, others: float) -> bool:
        return self.sampler is not None and is_disturbed(others, self.sampler.cpus)

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
        idle = Load(cpus=1, others=[])  # of memory, which load does not change
        return marks_of(self.count, self.aa(), self.load() if self.sampler else idle)
