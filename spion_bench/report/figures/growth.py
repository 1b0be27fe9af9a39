"""How a method's time and memory grow with the sequence length: slopes in log-log, and a figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from spion_bench.records.statistics import median_of
from spion_bench.report.entries import ATTENTION, PEAK, STEP, Measure, density_entry
from spion_bench.report.figures.lines import (
    Line,
    add_legend,
    draw,
    make_line,
    outcomes_of,
    spoken,
)
from spion_bench.report.groups import Group, groups
from spion_bench.report.load import RecordSet, provenance
from spion_bench.report.methods import is_dense, ordered
from spion_bench.report.parts import Column, Entry, Figure, Table, slug
from spion_bench.report.setting import Setting
from spion_bench.report.style import Look, new_figure, to_svg
from spion_bench.report.words import format_percent

FEWEST_LENGTHS = 3
"""A line fits any two points."""

QUADRATIC = 1.75
"""From this slope on, a method's scores are said to grow with the square of the length."""


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
        blocks += [*_figures(lengths), slope_table(lengths)]
    return blocks


def slope(line: Line) -> float:
    """Return the least-squares slope of log value over log length: 1 is linear, 2 quadratic."""
    heights = [value.value for value in line.values]
    return float(np.polyfit(np.log(line.xs), np.log(heights), 1)[0])


def slope_table(lengths: Lengths) -> Table:
    """Return how every method's times, memory and number of scores grow with the length."""
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
            Column.text("kept", "Keys per query", partial(_kept_entry, lengths)),
            Column("kept_slope", "Scores computed", partial(_kept_slope_entry, lengths)),
        ],
        sources=lambda method: [
            outcome
            for group in lengths.members
            if method in group.methods
            for outcome in group.methods[method].outcomes
        ],
        key=slug("growth", lengths.task),
        title=f"{lengths.task}: growth with the sequence length",
        caption=(
            f"Slope of the logarithm of the median over the logarithm of the length ({shown} "
            "tokens): 1 is linear, 2 quadratic. Parts of a step that are linear for every method, "
            "or constant, pull a slope down. Keys per query are a row's share of the length, from "
            "kept blocks or modelled work; a method that computes a fixed share of all scores "
            "stays quadratic, however small the share."
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


def _keys(lengths: Lengths, method: str) -> list[tuple[int, float, int | None]]:
    """Return, shortest first, length, keys per query and block size (None without blocks)."""
    found = []
    for group in lengths.members:
        cells = group.methods.get(method)
        if cells is None:
            continue
        share = 1.0 if is_dense(cells.info) else density_entry(group, cells).value
        if isinstance(share, float) and share > 0:
            patterns = cells.patterns()
            block_size = patterns[0].block_size if patterns else None
            found.append((group.setting.length, share * group.setting.length, block_size))
    return found


def _kept_entry(lengths: Lengths, method: str) -> Entry:
    found = _keys(lengths, method)
    if not found:
        return Entry.missing("neither a pattern nor the modelled work is recorded")
    ends = [found[0], found[-1]]
    blocks = [keys / size for _, keys, size in ends if size]
    shares = " to ".join(format_percent(keys / length) for length, keys, _ in ends)
    note = f"{shares} of the length"
    if len(blocks) == len(ends):
        note += f"; {blocks[0]:.1f} to {blocks[1]:.1f} blocks per row"
    return Entry.of_text(" to ".join(f"{keys:.0f}" for _, keys, _ in ends), note=note)


def _kept_slope_entry(lengths: Lengths, method: str) -> Entry:
    """Return how the number of computed scores grows; near 2 it is said to grow with L^2."""
    found = _keys(lengths, method)
    if len({length for length, _, _ in found}) < FEWEST_LENGTHS:
        return Entry.missing(f"fewer than {FEWEST_LENGTHS} lengths")
    logs = np.log([(length, length * keys) for length, keys, _ in found])
    value = float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])
    is_quadratic = value > QUADRATIC
    return Entry(f"{value:.2f}", value=value, note="grows with L\u00b2" if is_quadratic else "")


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
