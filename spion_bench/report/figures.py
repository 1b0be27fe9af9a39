"""Figures of cost and training: methods side by side, and training curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from spion_bench.report.cells import Group, MethodCells, groups, is_what_it_says, provenance
from spion_bench.report.load import Curve, Outcome, RecordSet
from spion_bench.report.quantities import join_words
from spion_bench.report.svg import INK, PAPER, method_colour, method_marker, new_figure, to_svg
from spion_bench.report.table import Entry, Figure, slug
from spion_bench.report.tables import SUMMARY_PASSES, accuracy_entry, memory_entry, step_entry

SMOOTHING_SHARE = 0.04
"""Width of the moving average of a loss curve, as a share of the run."""

NEAR_AXIS = 0.06
"""A point this near to the axis, as a share of the largest value, has its label beside it."""

LONGEST_LABEL = 27
"""A transition whose runs need more letters than this is labelled with their number."""

LEGEND_COLUMNS = 6
"""Methods in a row of a legend, at most."""

# Panel heading, unit of the axis, factor from the entry's value, what fills it.
_PANELS: tuple[tuple[str, str, float, Callable[[MethodCells], Entry]], ...] = (
    ("Test accuracy", "%", 100.0, accuracy_entry),
    ("Training step", "ms", 1.0, step_entry),
    ("Peak memory of a step", "MB", 1e-6, memory_entry),
)


def comparison_figures(run: RecordSet) -> list[Figure]:
    """Return, per setting, accuracy, step time and peak memory of all methods as points."""
    figures = [_comparison(group) for group in groups(run, SUMMARY_PASSES)]
    return [figure for figure in figures if figure is not None]


def _comparison(group: Group) -> Figure | None:
    panels = []
    for title, unit, factor, entry_of in _PANELS:
        entries = {name: entry_of(cells) for name, cells in group.methods.items()}
        shown = {name: entry for name, entry in entries.items() if entry.value is not None}
        if len(shown) > 1:
            panels.append((title, unit, factor, shown))
    if not panels:
        return None
    methods = list(group.methods)
    name = slug("comparison", group.label)
    with new_figure(9.0, 0.9 + 0.34 * len(methods)) as figure:
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for ax, (title, unit, factor, shown) in zip(axes, panels, strict=True):
            _draw_points(ax, methods, shown, factor)
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
            "without a point has no number; the table says why. Axes of time and memory start at 0."
        ),
        alt="; ".join(described),
        svg=svg,
        provenance=provenance(group.outcomes),
    )


def _draw_points(ax: Axes, methods: Sequence[str], shown: dict[str, Entry], factor: float) -> None:
    largest = max(_value(entry.value) for entry in shown.values()) * factor
    for method, entry in shown.items():
        value = _value(entry.value) * factor
        y = len(methods) - 1 - methods.index(method)
        if entry.low is not None and entry.high is not None:
            span = [entry.low * factor, entry.high * factor]
            ax.plot(span, [y, y], color=method_colour(method), linewidth=2.2)
        marker = method_marker(method)
        ax.plot(value, y, marker, color=method_colour(method), markersize=7)
        is_spion = not entry.note.startswith("not SPION")
        ax.annotate(
            entry.text if is_spion else f"{entry.text}, not SPION",
            (value, y),
            xytext=(0, 6),
            textcoords="offset points",
            # A label in the middle of a point beside the axis would run into it.
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


def curve_figures(run: RecordSet) -> list[Figure]:
    """Return, per setting, training loss and dev accuracy over the steps."""
    figures = [_curves(group) for group in groups(run, ("accuracy",))]
    return [figure for figure in figures if figure is not None]


def _curves(group: Group) -> Figure | None:
    drawn = [outcome for outcome in group.outcomes if outcome.artifact is not None]
    if not drawn:
        return None
    name = slug("curves", group.label)
    with new_figure(9.0, 3.5) as figure:
        loss, accuracy = figure.subplots(1, 2)
        for method, cells in group.methods.items():
            curves = [o.artifact.curve for o in cells.outcomes if o.artifact is not None]
            _draw_loss(loss, method, curves)
            _draw_accuracy(accuracy, method, curves)
        last = max(int(o.artifact.curve.step.max(initial=1)) for o in drawn if o.artifact)
        for ax, is_top in ((loss, True), (accuracy, False)):
            ax.set_xlabel("training step")
            ax.set_xlim(0, last)
            _draw_transitions(ax, drawn, is_top=is_top)
        loss.set_title("Training loss (nat)")
        accuracy.set_title("Dev accuracy (%)")
        loss.set_ylim(bottom=0)
        handles, _ = loss.get_legend_handles_labels()
        n_rows = max(1, math.ceil(len(handles) / LEGEND_COLUMNS))
        n_columns = max(1, math.ceil(len(handles) / n_rows))
        figure.legend(handles=handles, loc="outside upper left", ncols=n_columns)
        svg = to_svg(figure, name)
    methods = [m for m, cells in group.methods.items() if any(o.artifact for o in cells.outcomes)]
    turned = _transition_words(drawn)
    return Figure(
        key=name,
        title=group.label,
        caption=(
            "Thin lines: one per seed. Thick lines: mean over seeds. The loss is a moving "
            f"average over {100 * SMOOTHING_SHARE:g} % of the run. Dashed vertical lines: the step "
            "at which a SPION run turned from dense to sparse. Up to there SPION and the dense "
            f"method may share one run, and their lines coincide. {turned}"
        ).rstrip(),
        alt=f"Training loss and dev accuracy against the step for {join_words(methods)}. "
        f"{turned}".rstrip(),
        svg=svg,
        provenance=provenance(drawn),
    )


def _draw_loss(ax: Axes, method: str, curves: Sequence[Curve]) -> None:
    lines = [(curve.step, _smooth(curve.train_loss)) for curve in curves if len(curve.step)]
    _draw_lines(ax, method, lines, marker="")


def _draw_accuracy(ax: Axes, method: str, curves: Sequence[Curve]) -> None:
    lines = [(curve.dev_step, 100 * curve.dev_accuracy) for curve in curves if len(curve.dev_step)]
    _draw_lines(ax, method, lines, marker=method_marker(method))


def _draw_lines(
    ax: Axes, method: str, lines: Sequence[tuple[NDArray[Any], NDArray[Any]]], *, marker: str
) -> None:
    colour = method_colour(method)
    if not lines:
        return
    if len(lines) > 1:
        for steps, values in lines:
            ax.plot(steps, values, color=colour, linewidth=0.7, alpha=0.55)
    common = lines[0][0]
    for steps, _ in lines[1:]:
        common = np.intersect1d(common, steps)
    if not len(common):
        return
    aligned = [values[np.isin(steps, common)] for steps, values in lines]
    mean = np.mean(aligned, axis=0)
    ax.plot(common, mean, color=colour, linewidth=2, marker=marker, markersize=4, label=method)


def _smooth(values: NDArray[Any]) -> NDArray[Any]:
    """Average over a centred window, which shrinks at both ends so that nothing is padded."""
    half = int(len(values) * SMOOTHING_SHARE / 2)
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low))


def _draw_transitions(ax: Axes, drawn: Sequence[Outcome], *, is_top: bool) -> None:
    """Draw and label each transition, in the half of the panel that the curves leave free."""
    for place, (step, (who, n_runs)) in enumerate(_transitions(drawn).items()):
        is_late = step > 0.5 * ax.get_xlim()[1]
        shown = who if len(who) <= LONGEST_LABEL else f"{n_runs} runs"
        ax.axvline(step, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.7)
        ax.annotate(
            f"{shown}: sparse from {step}",
            (step, 0.93 - 0.07 * (place % 7) if is_top else 0.03 + 0.07 * (place % 7)),
            xycoords=("data", "axes fraction"),
            xytext=(-3 if is_late else 3, 0),
            textcoords="offset points",
            ha="right" if is_late else "left",
            fontsize=8,
            bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )


def _transitions(drawn: Sequence[Outcome]) -> dict[int, tuple[str, int]]:
    """Return, step by step, which seeds of which methods turned sparse there, and how many."""
    turned: dict[int, list[Outcome]] = {}
    for outcome in drawn:
        transition = outcome.record.transition
        if transition is not None and transition.step is not None:
            turned.setdefault(transition.step, []).append(outcome)
    is_one_method = len({o.record.method.name for o in drawn if o.record.transition}) == 1
    return {
        step: (_who(outcomes, is_one_method=is_one_method), len(outcomes))
        for step, outcomes in sorted(turned.items())
    }


def _who(outcomes: Sequence[Outcome], *, is_one_method: bool) -> str:
    seeds: dict[str, list[str]] = {}
    for outcome in outcomes:
        mark = "" if is_what_it_says(outcome) else " (not SPION)"
        seeds.setdefault(outcome.record.method.name, []).append(f"{outcome.record.seed}{mark}")
    words = {m: f"seed{'' if len(s) == 1 else 's'} {', '.join(s)}" for m, s in seeds.items()}
    return "; ".join(text if is_one_method else f"{m} {text}" for m, text in words.items())


def _transition_words(drawn: Sequence[Outcome]) -> str:
    found = _transitions(drawn).items()
    return " ".join(f"Sparse from step {step}: {who}." for step, (who, _) in found)
