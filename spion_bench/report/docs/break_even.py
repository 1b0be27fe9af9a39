"""Up to which share of kept blocks, and from which length on, SPION pays: from records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from spion_bench.records.paired import ratio_in_turn
from spion_bench.records.statistics import Estimate
from spion_bench.report.docs.markdown import shown
from spion_bench.report.groups import Group, groups
from spion_bench.report.kernels.points import FUSED, Point, kernel_sweeps, shape_text
from spion_bench.report.load import RecordSet
from spion_bench.report.parts import Entry
from spion_bench.report.words import format_percent
from spion_bench.suite.pages import markdown_table

MEASURES: Final = {"train_step_ms": "A training step", "attention_ms": "attention alone"}


def bracket(points: Sequence[tuple[float, Estimate]]) -> tuple[float | None, float | None]:
    """Return between which two measured points sparse attention stops being faster.

    Args:
        points: A number and how many times faster than dense attention it is there, ascending.

    Returns:
        The last point before the first whose interval reaches 1, and that one; None where there is
        no such point.
    """
    last = None
    for place, speedup in points:
        if (speedup.value if speedup.low is None else speedup.low) <= 1:
            return last, place
        last = place
    return last, None


def break_even_section(*runs: RecordSet) -> str:
    """Return both tables, each with where its break-even lies."""
    return "\n\n".join([_shares(runs), _lengths(runs)])


def _shares(runs: Sequence[RecordSet]) -> str:
    found = [
        (point, speedup)
        for run in runs
        for sweeps in kernel_sweeps(run)
        for point in sweeps.of("density")
        if (speedup := point.speedup(FUSED)) is not None
    ]
    if not found:
        return "Share of kept blocks: not measured (`spion-bench run --profile kernels`)."
    rows = [(format_percent(_share(point)), _shown(speedup)) for point, speedup in found]
    below, above = bracket([(_share(point), speedup) for point, speedup in found])
    if above is None:
        where = f"is shown to be faster at every measured share, up to {rows[-1][0]}"
    elif below is None:
        where = f"is not shown to be faster at any, from {rows[0][0]} on"
    else:
        where = (
            f"is shown to be faster up to **{format_percent(below)}** of the blocks and no longer "
            f"at **{format_percent(above)}**: it breaks even in between"
        )
    header = ("Blocks kept", "attention, forward and backward, is faster than dense by")
    shape = shape_text(found[0][0].shape)
    return f"{markdown_table(header, rows)}\n\nAttention {where} ({shape})."


def _share(point: Point) -> float:
    share = point.shape.density
    assert share is not None  # the factor of the sweep
    return share


def _lengths(runs: Sequence[RecordSet]) -> str:
    found = sorted(
        (group for run in runs for group in groups(run, ("speed",)) if _speedups(group)),
        key=lambda group: (group.setting.length or 0, group.label),
    )
    if not found:
        return "Length: not measured (`spion-bench run --profile scaling`)."
    rows = [
        (group.label, _kept(group), *(_shown(s) for s in _speedups(group).values()))
        for group in found
    ]
    header = ("Setting", "blocks kept", *(f"{label} is faster by" for label in MEASURES.values()))
    steps = [(g.setting.length or 0, _speedups(g)["train_step_ms"]) for g in reversed(found)]
    above, below = bracket(steps)
    if below is None:
        where = (
            f"is shown to be faster at every measured length, the shortest of **{above}** tokens"
        )
    elif above is None:
        where = f"is not shown to be faster at any, up to {below} tokens"
    else:
        where = f"breaks even between **{below} and {above}** tokens"
    return f"{markdown_table(header, rows)}\n\nA step {where}; shorter ones are not measured."


def _speedups(group: Group) -> dict[str, Estimate]:
    """Return how many times faster SPION-CF is than dense attention, by measure; {} if unknown."""
    if group.baseline is None or group.champion is None:
        return {}
    found = {}
    for name in MEASURES:
        dense, sparse = (c.metric("speed", name) for c in (group.baseline, group.champion))
        if dense is None or sparse is None:
            return {}
        found[name] = ratio_in_turn(dense, sparse)
    return found


def _kept(group: Group) -> str:
    champion = group.champion
    densities = [d for p in (champion.patterns() if champion else []) for d in p.density]
    return format_percent(sum(densities) / len(densities)) if densities else "not recorded"


def _shown(speedup: Estimate) -> str:
    return shown(Entry.estimate(speedup, "times"))
