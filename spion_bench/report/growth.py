"""How a method's time and memory grow with the sequence length: slopes in log-log, and a figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from spion_bench.records import PassName
from spion_bench.report.cells import Group, groups, method_rank, provenance
from spion_bench.report.kernel_lines import Line, add_legend, draw, outcomes_of, spoken
from spion_bench.report.load import Outcome, RecordSet
from spion_bench.report.statistics import median_of
from spion_bench.report.svg import METHOD_COLOURS, new_figure, to_svg
from spion_bench.report.table import Column, Entry, Figure, Table, missing, slug, words

FEWEST_LENGTHS = 3
"""Through two points every line fits."""


@dataclass(frozen=True)
class _Quantity:
    """A quantity whose growth is shown."""

    pass_name: PassName
    metric: str
    label: str
    unit: str
    axis: str
    factor: float


_QUANTITIES = (
    _Quantity("speed", "train_step_ms", "Training step", "ms", "ms", 1.0),
    _Quantity("speed", "attention_ms", "Attention alone", "ms", "ms", 1.0),
    _Quantity("memory", "train_step_peak_bytes", "Peak memory of a step", "bytes", "MB", 1e-6),
)


@dataclass(frozen=True)
class Family:
    """The settings that differ in nothing but the sequence length, shortest first."""

    task: str
    members: tuple[Group, ...]

    @property
    def methods(self) -> list[str]:
        """Every method of the family, in the order of every table."""
        return sorted({name for group in self.members for name in group.methods}, key=method_rank)

    def line(self, method: str, quantity: _Quantity) -> Line | None:
        """Return a method's medians over the length; None if it has fewer than three."""
        xs, values, outcomes = [], [], list[Outcome]()
        for group in self.members:
            cells = group.methods.get(method)
            metric = cells.metric(quantity.pass_name, quantity.metric) if cells else None
            if cells is None or metric is None:
                continue
            xs.append(float(group.setting.length))
            values.append(median_of(metric))
            outcomes += cells.ok(quantity.pass_name)
        if len(xs) < FEWEST_LENGTHS:
            return None
        return Line(method, tuple(xs), tuple(values), tuple(outcomes))


def families(run: RecordSet) -> list[Family]:
    """Return the families of at least three lengths."""
    found: dict[tuple[str, ...], list[Group]] = {}
    for group in groups(run, ("speed", "memory")):
        s = group.setting
        key = (s.task, s.source, s.device, s.dtype, s.profile, s.machine, s.file)
        found.setdefault(key, []).append(group)
    return [
        Family(key[0], tuple(sorted(members, key=lambda group: group.setting.length)))
        for key, members in found.items()
        if len({group.setting.length for group in members}) >= FEWEST_LENGTHS
    ]


def growth_blocks(run: RecordSet) -> list[Table | Figure]:
    """Return, per family of lengths, the figure and the table of slopes."""
    blocks: list[Table | Figure] = []
    for family in families(run):
        blocks += _figures(family)
        blocks.append(_table(family))
    return blocks


def slope(line: Line) -> float:
    """Return the least-squares slope of log value over log length: 1 is linear, 2 quadratic."""
    heights = [value.value for value in line.values]
    return float(np.polyfit(np.log(line.xs), np.log(heights), 1)[0])


def _table(family: Family) -> Table:
    lengths = ", ".join(str(group.setting.length) for group in family.members)
    return Table(
        key=slug("growth", family.task),
        title=f"{family.task}: growth with the sequence length",
        caption=(
            f"Slope of the logarithm of the median over the logarithm of the length ({lengths} "
            "tokens): 1 is linear, 2 quadratic. Parts of a step that are linear for every method, "
            "or constant, pull a slope down."
        ),
        columns=(
            Column("method", "Method", numeric=False),
            *(Column(f"{q.metric}_slope", q.label) for q in _QUANTITIES),
        ),
        rows=tuple(
            (words(method), *(_slope_entry(family, method, q) for q in _QUANTITIES))
            for method in family.methods
        ),
        provenance=provenance([o for group in family.members for o in group.outcomes]),
    )


def _slope_entry(family: Family, method: str, quantity: _Quantity) -> Entry:
    line = family.line(method, quantity)
    if line is not None:
        value = slope(line)
        return Entry(f"{value:.2f}", value=value)
    for group in reversed(family.members):
        cells = group.methods.get(method)
        if cells is not None and cells.metric(quantity.pass_name, quantity.metric) is None:
            return missing(cells.why_missing(quantity.pass_name, quantity.metric))
    return missing(f"fewer than {FEWEST_LENGTHS} lengths")


def _figures(family: Family) -> Iterator[Figure]:
    shown = [method for method in family.methods if method in METHOD_COLOURS]
    panels = []
    for quantity in _QUANTITIES:
        lines = [line for method in shown if (line := family.line(method, quantity))]
        if lines:
            panels.append((quantity, lines))
    if not panels:
        return
    name = slug("growth", family.task)
    with new_figure(9.5, 3.6) as figure:
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for ax, (quantity, lines) in zip(axes, panels, strict=True):
            scaled = [_scaled(line, quantity.factor) for line in lines]
            title = f"{quantity.label} ({quantity.axis})"
            draw(ax, scaled, title=title, xlabel="sequence length", y_scale="log")
        add_legend(figure, list(axes))
        svg = to_svg(figure, name)
    yield Figure(
        key=name,
        title=f"{family.task}: time and memory over the sequence length",
        caption=(
            "Medians with 95 % intervals, both axes logarithmic. Methods without a colour of their "
            "own are in the table only."
        ),
        alt="; ".join(f"{q.label}: {spoken(lines, q.unit)}" for q, lines in panels),
        svg=svg,
        provenance=provenance(outcomes_of(line for _, lines in panels for line in lines)),
    )


def _scaled(line: Line, factor: float) -> Line:
    values = tuple(
        replace(
            value,
            value=value.value * factor,
            low=None if value.low is None else value.low * factor,
            high=None if value.high is None else value.high * factor,
        )
        for value in line.values
    )
    return replace(line, values=values)
