"""Training curves: loss and dev accuracy over steps and time, and where runs turned sparse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from spion_bench.records.artifacts import Curve
from spion_bench.report.course.of_group import Course, courses_of
from spion_bench.report.figures.lines import add_legend
from spion_bench.report.groups import Group, groups, is_what_it_says
from spion_bench.report.load import Outcome, RecordSet, provenance
from spion_bench.report.parts import Figure, slug
from spion_bench.report.style import INK, PAPER, Look, new_figure, to_svg
from spion_bench.report.words import join_words

SMOOTHING_SHARE = 0.04
"""Width of the moving average of a loss curve, as a share of the run."""

MOST_LINES = 5
"""Of more seeds than this, a panel shows the range instead of a line for each."""

LONGEST_LABEL = 27
"""A transition with a longer list of runs is labelled with their number."""


def curve_figures(run: RecordSet) -> list[Figure]:
    """Return, per setting, training loss and dev accuracy over the steps, and over timed steps."""
    figures = [_curves(run, group) for group in groups(run, ("accuracy",))]
    return [figure for figure in figures if figure is not None]


def _curves(run: RecordSet, group: Group) -> Figure | None:
    drawn = [outcome for outcome in group.outcomes if outcome.artifact is not None]
    if not drawn:
        return None
    name, looks = slug("curves", group.label), run.looks
    timed = {name: course for name, course in courses_of(run, group).items() if course.is_timed}
    with new_figure(9.0, 3.3) as figure:
        loss, accuracy, *of_time = figure.subplots(1, 3 if timed else 2)
        for method, cells in group.methods.items():
            curves = [o.artifact.curve for o in cells.outcomes if o.artifact is not None]
            _draw_loss(loss, method, curves, looks[method])
            _draw_accuracy(accuracy, method, curves, looks[method])
        last = max(int(o.artifact.curve.step.max(initial=1)) for o in drawn if o.artifact)
        for ax, is_top in ((loss, True), (accuracy, False)):
            ax.set_xlabel("training step")
            ax.set_xlim(0, last)
            _draw_transitions(ax, drawn, is_top=is_top)
        loss.set_title("Training loss (nat)")
        accuracy.set_title("Dev accuracy (%)")
        loss.set_ylim(bottom=0)
        for ax in of_time:
            _draw_course(ax, timed, looks)
        add_legend(figure, [loss, accuracy])
        svg = to_svg(figure, name)
    methods = [m for m, cells in group.methods.items() if any(o.artifact for o in cells.outcomes)]
    turned = _transition_text(drawn)
    return Figure(
        key=name,
        title=group.label,
        caption=(
            f"{_about_seeds(drawn)} Thick lines: mean over seeds. The loss is a moving average "
            f"over {100 * SMOOTHING_SHARE:g} % of the run. Dashed vertical lines: the step at "
            "which a SPION run switched from dense to sparse. Until then SPION and dense attention "
            f"may share one run, and their lines coincide. {_about_time(timed)}{turned}"
        ).rstrip(),
        alt=f"Training loss and dev accuracy against the step for {join_words(methods)}. "
        f"{turned}".rstrip(),
        svg=svg,
        provenance=provenance(drawn),
    )


def _draw_loss(ax: Axes, method: str, curves: Sequence[Curve], look: Look) -> None:
    lines = [(curve.step, _smooth(curve.train_loss)) for curve in curves if len(curve.step)]
    _draw_lines(ax, method, lines, Look(look.colour, ""))


def _draw_accuracy(ax: Axes, method: str, curves: Sequence[Curve], look: Look) -> None:
    lines = [(curve.dev_step, 100 * curve.dev_accuracy) for curve in curves if len(curve.dev_step)]
    _draw_lines(ax, method, lines, look)


def _draw_course(ax: Axes, timed: Mapping[str, Course], looks: dict[str, Look]) -> None:
    """Draw dev accuracy over computed time: the mean over seeds at each evaluation."""
    for method, course in timed.items():
        runs = list(course.runs.values())
        n = min(len(run.seconds) for run in runs)
        if n:
            seconds = np.mean([run.seconds[:n] for run in runs], axis=0)
            percent = 100 * np.mean([run.accuracy[:n] for run in runs], axis=0)
            look = looks[method]
            ax.plot(seconds, percent, color=look.colour, marker=look.marker, markersize=4)
    ax.set_title("Dev accuracy (%)")
    ax.set_xlabel("training time (s, computed)")
    ax.set_xlim(left=0)


def _about_seeds(drawn: Sequence[Outcome]) -> str:
    runs = Counter(outcome.method.name for outcome in drawn)
    bands = f"Bands, of methods with more than {MOST_LINES} seeds: from the lowest to the highest."
    said = ["Thin lines: one per seed."] if min(runs.values()) <= MOST_LINES else []
    return " ".join([*said, bands] if max(runs.values()) > MOST_LINES else said)


def _about_time(timed: Mapping[str, Course]) -> str:
    bases = list(dict.fromkeys(course.basis for course in timed.values()))
    return f"Time is computed from {join_words(bases)}. " if bases else ""


def _draw_lines(
    ax: Axes, method: str, lines: Sequence[tuple[NDArray[Any], NDArray[Any]]], look: Look
) -> None:
    if not lines:
        return
    if 1 < len(lines) <= MOST_LINES:
        for steps, values in lines:
            ax.plot(steps, values, color=look.colour, linewidth=0.7, alpha=0.55)
    common = lines[0][0]
    for steps, _ in lines[1:]:
        if not np.array_equal(common, steps):
            common = np.intersect1d(common, steps)
    if not len(common):
        return
    aligned = [values[np.isin(steps, common)] for steps, values in lines]
    if len(lines) > MOST_LINES:
        ends = np.min(aligned, axis=0), np.max(aligned, axis=0)
        ax.fill_between(common, *ends, color=look.colour, alpha=0.18, linewidth=0)
    mean = np.mean(aligned, axis=0)
    ax.plot(
        common, mean, color=look.colour, linewidth=2, marker=look.marker, markersize=4, label=method
    )


def _smooth(values: NDArray[Any]) -> NDArray[Any]:
    """Average over a centred window, which shrinks at both ends: nothing is padded."""
    half = int(len(values) * SMOOTHING_SHARE / 2)
    known = np.where(np.isfinite(values), values, np.nan)  # a curve ends where it is not finite
    sums = np.concatenate([[0.0], np.cumsum(known, dtype=np.float64)])
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
        transition = outcome.measured.transition
        if transition is not None and transition.step is not None:
            turned.setdefault(transition.step, []).append(outcome)
    is_one_method = len({o.method.name for o in drawn if o.measured.transition}) == 1
    return {
        step: (_who(outcomes, is_one_method=is_one_method), len(outcomes))
        for step, outcomes in sorted(turned.items())
    }


def _who(outcomes: Sequence[Outcome], *, is_one_method: bool) -> str:
    seeds: dict[str, list[str]] = {}
    for outcome in outcomes:
        mark = "" if is_what_it_says(outcome) else " (not SPION)"
        seeds.setdefault(outcome.method.name, []).append(f"{outcome.cell.seed}{mark}")
    shown = {m: f"seed{'' if len(s) == 1 else 's'} {', '.join(s)}" for m, s in seeds.items()}
    return "; ".join(text if is_one_method else f"{m} {text}" for m, text in shown.items())


def _transition_text(drawn: Sequence[Outcome]) -> str:
    found = _transitions(drawn).items()
    return " ".join(f"Sparse from step {step}: {who}." for step, (who, _) in found)
