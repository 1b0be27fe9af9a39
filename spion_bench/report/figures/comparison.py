"""The methods of a setting side by side: accuracy, step time and peak memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes

from spion_bench.report.entries import PEAK, STEP, SUMMARY_PASSES, accuracy_entry
from spion_bench.report.evidence.of_group import may_compare
from spion_bench.report.groups import Group, MethodCells, groups
from spion_bench.report.load import RecordSet, provenance
from spion_bench.report.parts import Entry, Figure, slug
from spion_bench.report.style import Look, new_figure, to_svg
from spion_bench.report.words import join_words

NEAR_AXIS = 0.06
"""A point this near to the axis, as a share of the largest value, has its label next to it."""

# Panel heading, unit of the axis, factor from the entry's value, and the entry that it shows.
_PANELS: tuple[tuple[str, str, float, Callable[[MethodCells], Entry]], ...] = (
    ("Test accuracy", "%", 100.0, accuracy_entry),
    (STEP.label, "ms", 1.0, STEP.entry),
    (PEAK.label, "MB", 1e-6, PEAK.entry),
)


def comparison_figures(run: RecordSet) -> list[Figure]:
    """Return, per setting, accuracy, step time and peak memory of all methods as points."""
    figures = [_comparison(group, run.looks) for group in groups(run, SUMMARY_PASSES)]
    return [figure for figure in figures if figure is not None]


def _comparison(group: Group, looks: Mapping[str, Look]) -> Figure | None:
    panels = []
    for title, unit, factor, entry_of in _PANELS:
        if entry_of is accuracy_entry and not may_compare(group):
            continue
        entries = {name: entry_of(cells) for name, cells in group.methods.items()}
        shown = {name: entry for name, entry in entries.items() if _is_drawn(entry)}
        if len(shown) > 1:
            panels.append((title, unit, factor, shown))
    if not panels:
        return None
    methods = list(group.methods)
    name = slug("comparison", group.label)
    with new_figure(9.0, 0.9 + 0.34 * len(methods)) as figure:
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for ax, (title, unit, factor, shown) in zip(axes, panels, strict=True):
            _draw_points(ax, methods, shown, factor, looks)
            ax.set_title(title)
            ax.set_xlabel(unit)
        svg = to_svg(figure, name)
    described = [
        f"{title}: " + ", ".join(f"{method} {entry.text}" for method, entry in shown.items())
        for title, _, _, shown in panels
    ]
    return Figure(
        key=name,
        title=f"{group.label}: methods side by side",
        caption=(
            f"{join_words([panel[0].lower() for panel in panels]).capitalize()} by method. "
            "Bars: 95 % intervals, where they exist; many are narrower than the marker. A method "
            "without a point has no number; the table says why. The time and memory axes start "
            "at 0."
        ),
        alt="; ".join(described),
        svg=svg,
        provenance=provenance(group.outcomes),
    )


def _is_drawn(entry: Entry) -> bool:
    return isinstance(entry.value, int | float) and math.isfinite(entry.value)


def _draw_points(
    ax: Axes,
    methods: Sequence[str],
    shown: dict[str, Entry],
    factor: float,
    looks: Mapping[str, Look],
) -> None:
    largest = max(_value(entry.value) for entry in shown.values()) * factor
    for method, entry in shown.items():
        value, look = _value(entry.value) * factor, looks[method]
        y = len(methods) - 1 - methods.index(method)
        if entry.low is not None and entry.high is not None:
            span = [entry.low * factor, entry.high * factor]
            ax.plot(span, [y, y], color=look.colour, linewidth=2.2)
        ax.plot(value, y, look.marker, color=look.colour, markersize=7)
        is_spion = not entry.note.startswith("not SPION")
        ax.annotate(
            entry.text if is_spion else f"{entry.text}, not SPION",
            (value, y),
            xytext=(0, 6),
            textcoords="offset points",
            # A label in the middle of a point next to the axis would run into it.
            ha="left" if value < NEAR_AXIS * largest else "center",
            fontsize=8,
        )
    ax.set_yticks(range(len(methods)), list(reversed(methods)))
    ax.set_ylim(-0.5, len(methods) - 0.2)
    ax.grid(visible=True, axis="x")
    ax.grid(visible=False, axis="y")
    ax.margins(x=0.18)
    if factor != 100.0:
        ax.set_xlim(left=0)


def _value(value: float | int | str | None) -> float:
    if not isinstance(value, (int, float)):
        raise TypeError(f"value: expected a number to draw, got {value!r}")
    return float(value)
