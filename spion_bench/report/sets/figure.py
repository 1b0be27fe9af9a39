"""The picture of a comparison: how far each method's numbers lie from those of the first set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from spion_bench.records.statistics import Estimate
from spion_bench.report.figures.lines import add_legend
from spion_bench.report.load import provenance
from spion_bench.report.parts import Figure
from spion_bench.report.sets.compared import Compared
from spion_bench.report.sets.lines import Line
from spion_bench.report.sets.read import Sets
from spion_bench.report.style import GREY, INK, Look, looks_of, new_figure, of_method, to_svg
from spion_bench.report.words import format_quantity, plural

MOST_PANELS: Final = 3
MOST_ROWS: Final = 4


@dataclass(frozen=True)
class _Point:
    """One difference: in which row it is drawn, and how."""

    place: tuple[str, str]
    method: str
    estimate: Estimate
    is_judged: bool
    is_clear: bool


def difference_figure(sets: Sets, lines: Mapping[Compared, Sequence[Line]]) -> Figure | None:
    """Return ratios and differences with their intervals, a row per place and set, or None."""
    points = {number: _points(sets, those) for number, those in lines.items()}
    with_points = {number: found for number, found in points.items() if found}
    ranked = sorted(with_points, key=lambda number: not any(p.is_clear for p in points[number]))
    order = [number for number in with_points if number in ranked[:MOST_PANELS]]
    drawable = [point for number in order for point in with_points[number]]
    places = list(dict.fromkeys(p.place for p in sorted(drawable, key=lambda p: not p.is_clear)))
    shown = places[:MOST_ROWS]
    if not shown:
        return None
    sides = [side for those in lines.values() for line in those for side in line.row.sides]
    looks = looks_of(side.cells.info for side in sides if side is not None)
    told = []
    with new_figure(9.6, 0.75 + 0.5 * len(shown)) as figure:
        axes = figure.subplots(1, len(order), squeeze=False, sharey=True)[0]
        for ax, number in zip(axes, order, strict=True):
            drawn = [point for point in with_points[number] if point.place in shown]
            told.append(_draw(ax, number, drawn, shown, looks))
        axes[0].set_yticks(
            [-place for place in range(len(shown))],
            [f"{label}\n{pair}" for label, pair in shown],
            fontsize=8,
        )
        add_legend(figure, list(axes))
        svg = to_svg(figure, "differences-picture")
    left = len(places) - len(shown)
    more = f" {plural(left, 'more place')} in the tables." if left else ""
    outcomes = {
        outcome.anchor: outcome
        for number in order
        for line in lines[number]
        for found in line.differences
        if found is not None
        for outcome in found.outcomes
    }
    return Figure(
        key="differences-picture",
        title="Ratios and differences, with their intervals",
        caption=(
            "A point is a method, a bar its interval; on the line there is no difference. Pale "
            f"grey points have no verdict, and the tables say why.{more}"
        ),
        alt=" ".join(told),
        svg=svg,
        provenance=provenance(outcomes.values()),
    )


def _points(sets: Sets, lines: Sequence[Line]) -> list[_Point]:
    return [
        _Point(
            (line.row.label, f"{one.name} against {sets.first.name}"),
            line.row.method,
            found.estimate,
            found.verdict is not None,
            found.is_clear,
        )
        for line in lines
        for one, found in zip(sets.others, line.differences, strict=True)
        if found is not None
        and found.estimate is not None
        and math.isfinite(found.estimate.value)
        and (line.number.unit == "points" or found.estimate.value > 0)
    ]


def _draw(
    ax: Axes,
    number: Compared,
    points: Sequence[_Point],
    places: Sequence[tuple[str, str]],
    looks: Mapping[str, Look],
) -> str:
    is_ratio = number.unit == "times"
    ax.set_title(number.label)
    ax.axvline(1.0 if is_ratio else 0.0, color=INK, linewidth=0.9)
    if is_ratio:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}\u00d7"))
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xlabel(f"\u2190 {number.less}   {number.more} \u2192")
    else:
        ax.set_xlabel("points")
    told = []
    for row, place in enumerate(places):
        here = [point for point in points if point.place == place]
        for turn, point in enumerate(here):
            offset = 0.66 * ((turn + 0.5) / len(here) - 0.5)
            _draw_point(ax, point, -row - offset, looks[point.method], 1 if is_ratio else 100)
        if here:
            told.append(f"{place[0]}, {place[1]}, {_reach(here, number.unit)}")
    ax.set_ylim(-len(places) + 0.5, 0.5)
    ax.margins(x=0.12)
    ax.grid(visible=True, axis="x")
    ax.grid(visible=False, axis="y")
    return f"{number.label}: {'; '.join(told) or 'nothing compared'}."


def _reach(points: Sequence[_Point], unit: str) -> str:
    """Return from where to where some points reach, in words."""
    ends = [min(points, key=_value), max(points, key=_value)]
    shown = [f"{format_quantity(_value(p), unit)[0]} ({p.method})" for p in ends]
    return f"from {shown[0]} to {shown[1]}" if len(points) > 1 else shown[0]


def _value(point: _Point) -> float:
    return point.estimate.value


def _draw_point(ax: Axes, point: _Point, y: float, look: Look, scale: float) -> None:
    colour = look.colour if point.is_judged else GREY
    found, gid = point.estimate, of_method(point.method)
    if found.low is not None and found.high is not None:
        ends = [scale * found.low, scale * found.high]
        ax.plot(ends, [y, y], color=colour, linewidth=1.2, alpha=0.7, gid=gid)
    (mark,) = ax.plot(scale * found.value, y, look.marker, color=colour, markersize=4, gid=gid)
    mark.set_label(point.method)
