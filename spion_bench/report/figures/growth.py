"""How a method's time and memory grow with the sequence length: slopes in log-log, and a figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from spion_bench.records.statistics import median_of
from spion_bench.report.entries import ATTENTION, PEAK, STEP, Measure
from spion_bench.report.figures.lines import (
    Line,
    add_legend,
    draw,
    make_line,
    outcomes_of,
    spoken,
)
from spion_bench.report.groups import Group, groups
from spion_bench.report.load import RecordSet, Setting, provenance
from spion_bench.report.methods import ordered
from spion_bench.report.parts import Column, Entry, Figure, Table, slug
from spion_bench.report.style import Look, new_figure, to_svg

FEWEST_LENGTHS = 3
"""A line fits any two points."""


# What is shown, the unit of its axis, and the factor to that unit.
_QUANTITIES: tuple[tuple[Measure, str, float], ...] = (
    (STEP, "ms", 1.0),
    (ATTENTION, "ms", 1.0),
    (PEAK, "MB", 1e-6),
)


@dataclass(frozen=True)
class Lengths:
    """The settings that differ in nothing but the sequence length, shortest first.

    Attributes:
        task: Name of the task.
        members: The settings.
        looks: How every method is drawn.
    """

    task: str
    members: tuple[Group, ...]
    looks: dict[str, Look]

    @property
    def methods(self) -> list[str]:
        """Every method, in the order of every table."""
        return ordered(cells.info for group in self.members for cells in group.methods.values())

    def line(self, method: str, measure: Measure) -> Line | None:
        """Return a method's medians over the length; None if it has fewer than three."""
        places = []
        for group in self.members:
            cells = group.methods.get(method)
            metric = cells.metric(measure.pass_name, measure.metric) if cells else None
            if cells is not None and metric is not None and metric.value > 0:
                outcomes = cells.ok(measure.pass_name)
                places.append((float(group.setting.length), median_of(metric), outcomes))
        line = make_line(method, self.looks[method], places)
        return line if line is not None and len(line.xs) >= FEWEST_LENGTHS else None


def lengths_of(run: RecordSet) -> list[Lengths]:
    """Return the settings of at least three lengths."""
    found: dict[Setting, list[Group]] = {}
    for group in groups(run, ("speed", "memory")):
        found.setdefault(replace(group.setting, length=0), []).append(group)
    return [
        Lengths(key.task, tuple(sorted(members, key=lambda g: g.setting.length)), run.looks)
        for key, members in found.items()
        if len({group.setting.length for group in members}) >= FEWEST_LENGTHS
    ]


def growth_blocks(run: RecordSet) -> list[Table | Figure]:
    """Return, per family of lengths, the figure and the table of slopes."""
    blocks: list[Table | Figure] = []
    for lengths in lengths_of(run):
        blocks += [*_figures(lengths), _table(lengths)]
    return blocks


def slope(line: Line) -> float:
    """Return the least-squares slope of log value over log length: 1 is linear, 2 quadratic."""
    heights = [value.value for value in line.values]
    return float(np.polyfit(np.log(line.xs), np.log(heights), 1)[0])


def _table(lengths: Lengths) -> Table:
    shown = ", ".join(str(group.setting.length) for group in lengths.members)
    return Table.of(
        lengths.methods,
        [
            Column.text("method", "Method", lambda method: method),
            *(
                Column(
                    f"{measure.metric}_slope",
                    measure.label,
                    partial(_slope_entry, lengths, measure),
                )
                for measure, _, _ in _QUANTITIES
            ),
        ],
        key=slug("growth", lengths.task),
        title=f"{lengths.task}: growth with the sequence length",
        caption=(
            f"Slope of the logarithm of the median over the logarithm of the length ({shown} "
            "tokens): 1 is linear, 2 quadratic. Parts of a step that are linear for every method, "
            "or constant, pull a slope down."
        ),
        provenance=provenance([o for group in lengths.members for o in group.outcomes]),
    )


def _slope_entry(lengths: Lengths, measure: Measure, method: str) -> Entry:
    line = lengths.line(method, measure)
    if line is not None:
        value = slope(line)
        return Entry(f"{value:.2f}", value=value)
    for group in reversed(lengths.members):
        cells = group.methods.get(method)
        if cells is not None and cells.metric(measure.pass_name, measure.metric) is None:
            return cells.missing(measure.pass_name, measure.metric)
    return Entry.missing(f"fewer than {FEWEST_LENGTHS} lengths")


def _figures(lengths: Lengths) -> Iterator[Figure]:
    panels = []
    for measure, axis, factor in _QUANTITIES:
        lines = [line for name in lengths.methods if (line := lengths.line(name, measure))]
        if lines:
            panels.append((measure, axis, factor, lines))
    if not panels:
        return
    name = slug("lengths", lengths.task)
    with new_figure(9.5, 3.4) as figure:
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for ax, (measure, axis, factor, lines) in zip(axes, panels, strict=True):
            scaled = [
                replace(line, values=tuple(value.scaled(factor) for value in line.values))
                for line in lines
            ]
            title = f"{measure.label} ({axis})"
            draw(ax, scaled, title=title, xlabel="sequence length", y_scale="log")
        add_legend(figure, list(axes))
        svg = to_svg(figure, name)
    yield Figure(
        key=name,
        title=f"{lengths.task}: time and memory over the sequence length",
        caption="Medians with 95 % intervals, both axes logarithmic.",
        alt="; ".join(f"{m.label}: {spoken(lines, m.unit)}" for m, _, _, lines in panels),
        svg=svg,
        provenance=provenance(outcomes_of(line for *_, lines in panels for line in lines)),
    )
