"""Lines of a figure: one per method over a factor that varies, with 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure as MplFigure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from spion_bench.records.statistics import Estimate
from spion_bench.report.load import Outcome
from spion_bench.report.style import Look
from spion_bench.report.words import format_quantity

MOST_COLUMNS = 6
"""Names in a row of a legend, at most."""

_HANDLE_INCHES, _LETTER_INCHES, _ROW_INCHES = 0.65, 0.08, 0.2

Scale = Literal["linear", "log"]


@dataclass(frozen=True)
class Line:
    """One method's values over a factor, where it has any; ``name`` if the legend has another."""

    method: str
    look: Look
    xs: tuple[float, ...]
    values: tuple[Estimate, ...]
    outcomes: tuple[Outcome, ...]
    name: str = ""

    @property
    def label(self) -> str:
        """What the legend calls the line."""
        return self.name or self.method


def make_line(
    method: str,
    look: Look,
    places: Iterable[tuple[float | None, Estimate | None, Sequence[Outcome]]],
) -> Line | None:
    """Return the line through all places that are known and finite; None if there are none."""
    kept = [
        (x, value, outcomes)
        for x, value, outcomes in places
        if x is not None and value is not None and math.isfinite(value.value)
    ]
    if not kept:
        return None
    xs, values, found = zip(*kept, strict=True)
    return Line(method, look, xs, values, tuple(o for outcomes in found for o in outcomes))


def draw(
    ax: Axes,
    lines: Sequence[Line],
    *,
    title: str,
    xlabel: str,
    x_scale: Scale = "log",
    y_scale: Scale = "linear",
    x_text: Callable[[float], str] = "{:g}".format,
) -> None:
    """Draw the lines with their 95 % intervals; every measured factor gets a tick."""
    for line in lines:
        colour = line.look.colour
        style = "--" if line.name else "-"
        heights = [value.value for value in line.values]
        ax.plot(
            line.xs,
            heights,
            style,
            color=colour,
            marker=line.look.marker,
            markersize=5,
            linewidth=1.6,
            label=line.label,
        )
        for x, value in zip(line.xs, line.values, strict=True):
            if value.low is not None and value.high is not None:
                ax.plot([x, x], [value.low, value.high], color=colour, linewidth=2.5, alpha=0.5)
    ax.set_title(title)
    ax.set_xlabel(xlabel)
    ax.set_xscale(x_scale, **({"base": 2} if x_scale == "log" else {}))
    xs = sorted({x for line in lines for x in line.xs})
    ax.set_xticks(xs, [x_text(x) for x in xs])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.tick_params(axis="x", which="minor", length=0)
    if y_scale == "log" and any(value.value > 0 for line in lines for value in line.values):
        set_log_y(ax)
    else:
        ax.set_ylim(bottom=0)


def set_log_y(ax: Axes) -> None:
    """Make the vertical axis logarithmic, with plain numbers as labels."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def draw_curve(ax: Axes, xs: Sequence[float], ys: Sequence[float], colour: str, label: str) -> None:
    """Draw a model or a limit: a dotted line without points."""
    ax.plot(xs, ys, color=colour, linewidth=1.2, linestyle=(0, (2, 2)), label=label)


def add_legend(figure: MplFigure, axes: Sequence[Axes]) -> None:
    """Put one legend above several panels, each label once; the figure grows by its rows."""
    found: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if not found:
        return
    width = _HANDLE_INCHES + _LETTER_INCHES * max(map(len, found))
    most = min(MOST_COLUMNS, int(figure.get_figwidth() / width))
    n_rows = math.ceil(len(found) / max(1, most))
    figure.set_figheight(figure.get_figheight() + _ROW_INCHES * n_rows)
    figure.legend(
        handles=list(found.values()),
        labels=list(found),
        loc="outside upper left",
        ncols=math.ceil(len(found) / n_rows),
    )


def spoken(lines: Sequence[Line], unit: str, x_text: Callable[[float], str] = "{:g}".format) -> str:
    """Return the lines in words, for readers who do not see the figure."""
    parts = []
    for line in lines:
        pairs = [
            f"{x_text(x)}: {format_quantity(value.value, unit)[0]}"
            for x, value in zip(line.xs, line.values, strict=True)
        ]
        parts.append(f"{line.label} {', '.join(pairs)}")
    return "; ".join(parts)


def outcomes_of(lines: Iterable[Line]) -> list[Outcome]:
    """Return the outcomes that lines were drawn from, each once."""
    found = {(o.file, o.record.key): o for line in lines for o in line.outcomes}
    return list(found.values())
