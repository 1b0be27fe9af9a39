"""Ablations: a panel per factor, the difference of test accuracy against the base's level."""

from __future__ import annotations

import math

from matplotlib.axes import Axes

from spion_bench.report.evidence.of_group import may_compare
from spion_bench.report.load import RecordSet, provenance
from spion_bench.report.methods import CHAMPION
from spion_bench.report.parts import Figure, slug
from spion_bench.report.style import GREY, INK, Look, new_figure, to_svg
from spion_bench.report.tables.ablation import NOT_COMPARED, Ablation, ablations

MOST_COLUMNS = 3


def ablation_figures(run: RecordSet) -> list[Figure]:
    """Return, per setting, a panel for each factor that was varied."""
    by_group: dict[str, list[Ablation]] = {}
    for each in ablations(run):
        if each.base is not None and len(each.levels) > 1:
            by_group.setdefault(each.group.label, []).append(each)
    looks = run.looks
    return [_figure(label, found, looks) for label, found in by_group.items()]


def _figure(label: str, found: list[Ablation], looks: dict[str, Look]) -> Figure:
    key = slug("ablation", "figure", label)
    columns = min(MOST_COLUMNS, len(found))
    rows = math.ceil(len(found) / columns)
    compares = may_compare(found[0].group)
    colour = looks[CHAMPION].colour if compares and CHAMPION in looks else GREY
    with new_figure(9.0, 0.4 + 2.3 * rows) as figure:
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        spoken = [_draw(ax, each, colour) for ax, each in zip(panels, found, strict=False)]
        for ax in panels[len(found) :]:
            ax.set_visible(False)
        for ax in panels[::columns]:
            ax.set_ylabel("points of accuracy")
        svg = to_svg(figure, key)
    outcomes = [o for each in found for level in each.levels for o in level.outcomes]
    return Figure(
        key=key,
        title=f"{label}: one factor at a time",
        caption=(
            "Test accuracy against that of the base (the ringed level), mean of the differences of "
            "each seed with their 95 % t interval. Dashed: dense attention against the base."
            + ("" if compares else f" {NOT_COMPARED}")
        ),
        alt="; ".join(spoken),
        svg=svg,
        provenance=provenance(outcomes),
    )


def _draw(ax: Axes, ablation: Ablation, colour: str) -> str:
    """Draw one factor and return it in words."""
    names, said = [], []
    places, heights = [], []
    for place, level in enumerate(ablation.levels):
        names.append(f"{level.value}")
        difference = ablation.difference(level.outcomes)
        if difference is None:
            continue
        places.append(place)
        heights.append(100 * difference.value)
        said.append(f"{level.value}: {100 * difference.value:+.1f}")
        if level.is_base:
            ax.plot([place], [0.0], "o", markersize=11, color=INK, fillstyle="none")
        elif difference.low is not None and difference.high is not None:
            ends = [100 * difference.low, 100 * difference.high]
            ax.plot([place, place], ends, color=colour, linewidth=2.5, alpha=0.5)
    is_ordered = not any(isinstance(level.value, str) for level in ablation.levels)
    ax.plot(places, heights, "o-" if is_ordered else "o", color=colour, markersize=5)
    dense = ablation.group.baseline
    against = ablation.difference(dense.ok("accuracy")) if dense else None
    if against is not None:
        ax.axhline(100 * against.value, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    ax.set_xticks(range(len(names)), names)
    ax.margins(x=0.15)
    ax.set_title(ablation.name)
    return f"{ablation.name}: {', '.join(said)} points"
