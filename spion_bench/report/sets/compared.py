"""A number that sets are compared by, its difference between two of them, or why there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from spion_bench.compare.alike import MACHINE, differences
from spion_bench.records import PassName
from spion_bench.records.statistics import Estimate
from spion_bench.report.load import Outcome
from spion_bench.report.parts import Entry
from spion_bench.report.sets.places import Side
from spion_bench.report.words import join_words

Verdict = Literal["more", "less", "same", "unclear"]
Unit = Literal["times", "points"]
"""Of a difference: a ratio over the first set's number, or what is added to it."""


@dataclass(frozen=True)
class Difference:
    """What a set has more or less of than the first set.

    Attributes:
        estimate: The ratio over the first set's number, or the difference from it; None if the
            two are not compared.
        verdict: What the interval says; None where there is no comparison, or it ranks nothing.
        reasons: Why they are not compared.
        outcomes: The records of both sides.
        p_value: Chance of so clear a difference if there were none.
        is_one_of_many: Whether it is clear by itself, but not among all that were judged.
    """

    estimate: Estimate | None
    verdict: Verdict | None = None
    reasons: tuple[str, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    p_value: float = 1.0
    is_one_of_many: bool = False

    @property
    def is_clear(self) -> bool:
        """Whether the sets differ by more than noise does."""
        return self.verdict in ("more", "less")


@dataclass(frozen=True)
class Shown:
    """A section of the page, and what it shows, in a sentence."""

    key: str
    title: str
    says: str


@dataclass(frozen=True)
class Compared:
    """A number that sets are compared by.

    Attributes:
        key: Names it in files.
        label: What a reader calls it.
        section: The section that shows it.
        pass_name: The pass of its records.
        more: What a set is that has more of it.
        less: What a set is that has less.
        entry: Makes the entry of one side.
        differ: Makes the difference of two sides whose records were measured alike.
        involved: The records of a side that must have been measured alike.
        unit: Of the difference.
    """

    key: str
    label: str
    section: Shown
    pass_name: PassName
    more: str
    less: str
    entry: Callable[[Side], Entry]
    differ: Callable[[Side, Side], Difference]
    involved: Callable[[Side], list[Outcome]]
    unit: Unit = "times"

    def difference(self, base: Side, head: Side) -> Difference:
        """Return what ``head`` has more of than ``base``, both with a number."""
        ours, theirs = self.involved(base), self.involved(head)
        if reasons := unlike(ours, theirs, is_timed=self.key != "accuracy"):
            return Difference(None, reasons=reasons)
        return replace(self.differ(base, head), outcomes=(*ours, *theirs))

    def word(self, verdict: Verdict) -> str:
        """Return a verdict as a reader says it."""
        return {"more": self.more, "less": self.less}.get(verdict, verdict)


def unlike(
    ours: Sequence[Outcome], theirs: Sequence[Outcome], *, is_timed: bool
) -> tuple[str, ...]:
    """Return what the records of two sets were not measured alike in, by method and seed.

    Machines may differ: that is what is compared. Threads change no accuracy.
    """
    ignored = MACHINE if is_timed else (*MACHINE, "threads")
    before = {(o.pass_name, o.method.name, o.cell.seed): o for o in ours}
    after = {(o.pass_name, o.method.name, o.cell.seed): o for o in theirs}
    shared = before.keys() & after.keys()
    methods = [{name for _, name, _ in found} for found in (before, after)]
    if methods[0] != methods[1]:
        alone = [join_words(sorted(methods[i] - methods[1 - i])) or "none" for i in (0, 1)]
        return (f"other methods: {alone[0]} and {alone[1]}",)
    if not shared or (is_timed and before.keys() != after.keys()):
        return ("other seeds",)
    found = [
        reason
        for key in sorted(shared)
        for reason in differences(before[key].record, after[key].record, ignored=ignored)
    ]
    return tuple(dict.fromkeys(found))
