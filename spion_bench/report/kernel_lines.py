"""Lines of the kernel page's figures: one per subject over the factor of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure as MplFigure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from spion_bench.report.kernel_points import FACTORS, Point
from spion_bench.report.load import Outcome
from spion_bench.report.quantities import format_quantity
from spion_bench.report.statistics import Estimate
from spion_bench.report.svg import method_colour, method_marker

Quantity = Callable[[Point, str], Estimate | None]
Scale = Literal["linear", "log"]


@dataclass(frozen=True)
class Line:
    """One subject's values over a factor, where it has any."""

    subject: str
    xs: tuple[float, ...]
    values: tuple[Estimate, ...]
    outcomes: tuple[Outcome, ...]
    name: str = ""

    @property
    def label(self) -> str:
        """What the legend calls the line."""
        return self.name or self.subject


def lines_of(
    points: Sequence[Point], sweep: str, subjects: Iterable[str], quantity: Quantity
) -> list[Line]:
    """Return the lines of the subjects that have at least one value."""
    lines = []
    for subject in subjects:
        found = [(FACTORS[sweep](point), quantity(point, subject), point) for point in points]
        kept = [(x, y, point) for x, y, point in found if x is not None and y is not None]
        if kept:
            xs, values, places = zip(*kept, strict=True)
            outcomes = tuple(place.subjects[subject] for place in places)
            lines.append(Line(subject, xs, values, outcomes))
    return lines


def metric_of(name: str) -> Quantity:
    """Return the quantity that is a stored metric."""
    return lambda point, subject: point.estimate(subject, name)


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
        colour = method_colour(line.subject)
        style = "--" if line.name else "-"
        heights = [value.value for value in line.values]
        ax.plot(
            line.xs,
            heights,
            style,
            color=colour,
            marker=method_marker(line.subject),
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
    if y_scale == "log":
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
    """Put one legend above several panels, each label once."""
    found: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(
        handles=list(found.values()), labels=list(found), loc="outside upper left", ncols=6
    )


def spoken(lines: Sequence[Line], unit: str, x_text: Callable[[float], str] = "{:g}".format) -> str:
    """Return the lines as words, for readers who do not see the figure."""
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
    found = {(o.file, o.record.cell_key): o for line in lines for o in line.outcomes}
    return list(found.values())
