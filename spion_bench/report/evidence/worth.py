"""What the learned pattern is worth: SPION-CF against what continues the same dense prefix.

Each alternative starts from the same weights at the same step and keeps as many blocks in each
layer; it differs in which blocks, in the convention for pruned scores, or in when layers turn
sparse. So a difference, paired by seed, is that of the pattern and of nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from spion_bench.records.statistics import Estimate, mean_over_seeds
from spion_bench.report.groups import Group, MethodCells, accuracies
from spion_bench.report.parts import Entry
from spion_bench.report.words import plural


@dataclass(frozen=True)
class Worth:
    """One alternative to the learned pattern.

    Attributes:
        other: What was trained in its place.
        lead: SPION-CF's test accuracy minus the other's, mean over paired seeds.
    """

    other: MethodCells
    lead: Estimate

    @property
    def verdict(self) -> str:
        """Say whether SPION-CF is better, as far as its interval shows."""
        if self.lead.low is not None and self.lead.low > 0:
            return "better than"
        if self.lead.high is not None and self.lead.high < 0:
            return "worse than"
        return "not shown to differ from"


def worths_of(group: Group) -> list[Worth]:
    """Return every alternative that shares SPION-CF's prefix and seeds, in the order of methods."""
    if group.champion is None:
        return []
    own = accuracies(group.champion.proven())
    found = []
    for cells in group.methods.values():
        other = accuracies(cells.proven())
        seeds = sorted(own.keys() & other.keys())
        if seeds and cells.info.shares_prefix and cells is not group.champion:
            leads = [own[seed] - other[seed] for seed in seeds]
            found.append(Worth(cells, mean_over_seeds(leads, "paired seed")))
    return found


def against_window(group: Group) -> Worth | None:
    """Return SPION-CF against a window of as many blocks: the comparison named beforehand."""
    return next((w for w in worths_of(group) if w.other.info.blocks == "window"), None)


def worth_sentence(group: Group) -> str | None:
    """Say in one sentence what the learned pattern is worth against a window; None if not run."""
    found = against_window(group)
    if found is None:
        return None
    points = Entry.estimate(found.lead, "points")
    return (
        f"SPION-CF is {found.verdict} a window of as many blocks: {points.text} {points.interval} "
        f"({plural(found.lead.n or 1, 'paired seed')})."
    ).replace("  ", " ")
