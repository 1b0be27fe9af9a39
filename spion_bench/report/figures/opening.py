"""The first picture: accuracy against whole-training time, next to the four ratios of SPION-CF.

A group that does not measure attention is drawn grey, with the reason. What was not measured is
said, never left out.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes

from spion_bench.report.entries import accuracy_entry
from spion_bench.report.evidence.of_group import evidence_of, may_compare
from spion_bench.report.evidence.rule import Evidence
from spion_bench.report.figures.lines import add_legend
from spion_bench.report.figures.speedups import ABOUT_RATIOS, draw_ratios, with_ratios
from spion_bench.report.groups import Group, groups
from spion_bench.report.load import RecordSet, provenance
from spion_bench.report.methods import BASELINE
from spion_bench.report.parts import Entry, Figure, slug
from spion_bench.report.style import GREY, INK, PAPER, Look, new_figure, of_method, to_svg
from spion_bench.report.tables.whole_training import TrainingTime, training_times
from spion_bench.report.words import format_percent, format_quantity, join_words

MOST_PANELS: Final = 3
"""Settings beside the ratios; a section shows them all."""

_ABOUT_TIMES: Final = (
    "Times are computed from quiet steps. Dashed lines: dense attention and the controls. The "
    "stepped line joins the methods than which no other is both faster and better (Pareto front). "
    "Bars: 95 % intervals."
)
_WIDTH, _HEIGHT = 10.4, 2.9  # inches; a page shows 100 pixels an inch


@dataclass(frozen=True)
class Point:
    """A method's accuracy, and its time if its steps were timed."""

    method: str
    accuracy: Entry
    time: TrainingTime | None

    @property
    def percent(self) -> float:
        """The accuracy in percent; NaN, which is not drawn, for infinity too."""
        assert isinstance(self.accuracy.value, float)
        return 100 * self.accuracy.value if math.isfinite(self.accuracy.value) else math.nan


def opening_figure(run: RecordSet) -> Figure | None:
    """Return the picture that a report begins with; None without accuracies and ratios."""
    trained, timed = _trained(run), with_ratios(run)[:MOST_PANELS]
    if not trained and not timed:
        return None
    with new_figure(_WIDTH, _HEIGHT) as figure:
        widths = [*(1.0 for _ in trained), 1.5]
        axes = figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
        told = [
            _draw_accuracy(ax, run, group) for ax, group in zip(axes[:-1], trained, strict=True)
        ]
        told.append(draw_ratios(axes[-1], timed))
        add_legend(figure, list(axes[:-1]))
        svg = to_svg(figure, "opening-picture")
    outcomes = [outcome for group in [*trained, *timed] for outcome in group.outcomes]
    return Figure(
        key="opening-picture",
        title="Accuracy against whole-training time, and how many times faster SPION-CF is",
        caption=f"{_ABOUT_TIMES} {ABOUT_RATIOS}" if trained else ABOUT_RATIOS,
        alt=" ".join(told),
        svg=svg,
        provenance=provenance(outcomes),
    )


def front_figures(run: RecordSet) -> list[Figure]:
    """Return, per setting that trained methods, accuracy against whole-training time."""
    figures = []
    for group in groups(run, ("accuracy",)):
        if not _points(run, group):
            continue
        key = slug("front", group.label)
        with new_figure(7.0, 3.6) as figure:
            ax = figure.subplots()
            told = _draw_accuracy(ax, run, group)
            add_legend(figure, [ax])
            svg = to_svg(figure, key)
        figures.append(
            Figure(
                key=key,
                title=f"{group.label}: accuracy against whole-training time",
                caption=_ABOUT_TIMES,
                alt=told,
                svg=svg,
                provenance=provenance(group.outcomes),
            )
        )
    return figures


def _trained(run: RecordSet) -> list[Group]:
    """Return the settings of the accuracy panels, those that measure attention first."""
    found = [group for group in groups(run, ("accuracy",)) if _points(run, group)]
    return sorted(found, key=lambda group: not may_compare(group))[:MOST_PANELS]


def _points(run: RecordSet, group: Group) -> list[Point]:
    times = {
        name: time
        for name, time in training_times(run, group).items()
        if math.isfinite(time.seconds.value)
    }
    entries = {name: accuracy_entry(cells) for name, cells in group.methods.items()}
    return [
        Point(name, entry, times.get(name))
        for name, entry in entries.items()
        if isinstance(entry.value, float) and not entry.note.startswith("not SPION")
    ]


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return which ``(time, accuracy)`` no other beats in both, the fastest first."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    front: list[int] = []
    for i in order:
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return front


def _draw_accuracy(ax: Axes, run: RecordSet, group: Group) -> str:
    """Draw the panel of a setting and return it in words."""
    points, evidence = _points(run, group), evidence_of(group)
    is_good = may_compare(group)
    ax.set_title(group.label)
    ax.set_ylabel("test accuracy (%)")
    is_line = {
        name: cells.info.role == "control" or name == BASELINE
        for name, cells in group.methods.items()
    }
    shown = [point for point in points if not is_line[point.method]]
    for point in points:
        if is_line[point.method]:
            _draw_line(ax, point, run.looks if is_good else {})
    timed = [(point, point.time) for point in shown if point.time is not None]
    if timed:
        _draw_timed(ax, timed, run.looks, is_good=is_good)
    else:
        for place, point in enumerate(shown):
            _draw_point(ax, point, float(place), run.looks, is_good=is_good)
        ax.set_xticks([])
        ax.set_xlim(-0.8, max(1, len(shown)) + 0.6)
        ax.set_xlabel("training time: not measured")
    ax.margins(y=0.15)
    told = "; ".join(_in_words(point) for point in points)
    if is_good or evidence is None:
        return f"{group.label}: {told}."
    reason = textwrap.fill(_reason(evidence), 26, max_lines=4, placeholder=" \u2026")
    ax.text(
        *(0.5, 0.5, reason),
        transform=ax.transAxes,
        ha="center",
        va="center",
        fontsize=8,
        bbox={"facecolor": PAPER, "edgecolor": GREY, "pad": 4},
    )
    return f"{group.label}: {evidence.sentence} {told}."


def _reason(evidence: Evidence) -> str:
    if evidence.missing:
        return "Not shown to measure attention: controls or shortcuts not run"
    beaten = join_words(evidence.not_beaten)
    return f"Does not measure attention: dense is not shown to beat {beaten}"


def _draw_timed(
    ax: Axes,
    timed: Sequence[tuple[Point, TrainingTime]],
    looks: Mapping[str, Look],
    *,
    is_good: bool,
) -> None:
    for point, time in timed:
        _draw_point(ax, point, time.seconds.value, looks, is_good=is_good)
    threads = sorted({time.threads for _, time in timed})
    counts = join_words([str(count) for count in threads])
    ax.set_xlabel(f"whole training (s), {counts} thread{'' if threads == [1] else 's'}")
    ax.margins(x=0.18)
    if not is_good:
        return
    best = [timed[i] for i in pareto([(t.seconds.value, p.percent) for p, t in timed])]
    ax.step(
        [time.seconds.value for _, time in best],
        [point.percent for point, _ in best],
        where="post",
        color=INK,
        linewidth=1.0,
        alpha=0.7,
        zorder=1,
    )
    for point, time in best:
        ax.annotate(
            point.method,
            (time.seconds.value, point.percent),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
        )


def _draw_point(
    ax: Axes, point: Point, x: float, looks: Mapping[str, Look], *, is_good: bool
) -> None:
    look = looks[point.method]
    colour = look.colour if is_good else GREY
    entry, gid = point.accuracy, of_method(point.method)
    span = [100 * end for end in (entry.low, entry.high) if end is not None and math.isfinite(end)]
    if len(span) == 2:
        ax.plot([x, x], span, color=colour, linewidth=1.6, alpha=0.6, gid=gid)
    (mark,) = ax.plot(x, point.percent, look.marker, color=colour, markersize=6.5, gid=gid)
    mark.set_label(point.method)


def _draw_line(ax: Axes, point: Point, looks: Mapping[str, Look]) -> None:
    colour = looks[point.method].colour if looks else GREY
    gid = of_method(point.method)
    ax.axhline(point.percent, color=colour, linewidth=1.1, linestyle=(0, (5, 3)), gid=gid)
    ax.annotate(
        point.method,
        (0.99, point.percent),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        gid=gid,
    )


def _in_words(point: Point) -> str:
    time = "time not measured"
    if point.time is not None:
        seconds = point.time.seconds.value
        time = format_quantity(seconds, "s")[0]
    return f"{point.method} {format_percent(point.percent / 100)}, {time}"
