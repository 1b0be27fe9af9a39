"""Figures of the kernel sweeps: how time, rate and memory follow one factor at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from spion_bench.report.cells import provenance
from spion_bench.report.kernel_goals import scaled
from spion_bench.report.kernel_lines import (
    Line,
    Quantity,
    Scale,
    add_legend,
    draw,
    draw_curve,
    lines_of,
    metric_of,
    outcomes_of,
    spoken,
)
from spion_bench.report.kernel_points import OURS, SGEMM, Point, Sweeps
from spion_bench.report.load import BASELINE
from spion_bench.report.quantities import format_percent
from spion_bench.report.statistics import Estimate, ratio_of_medians
from spion_bench.report.svg import INK, new_figure, to_svg
from spion_bench.report.table import Figure, slug

_SPARSE = (OURS, "pipeline")
_PEERS = (*_SPARSE, "flex_forward", "sliding_window", BASELINE, "dense_eager")
_BOTH, _FORWARD = "forward_backward_ms", "forward_ms"


@dataclass(frozen=True)
class _Panel:
    """One panel: its lines, in words and on paper.

    Attributes:
        title: What it shows, with its unit.
        lines: What is drawn.
        xlabel: The factor.
        unit: Unit of the values, for the words.
        y_scale: Scale of the vertical axis.
        x_text: How a value of the factor is written.
        curve: A model to draw beside the lines: its points and its name.
    """

    title: str
    lines: list[Line]
    xlabel: str
    unit: str
    y_scale: Scale = "linear"
    x_text: Callable[[float], str] = "{:g}".format
    curve: tuple[list[float], list[float], str] | None = None


def scaling_figures(sweeps: Sweeps, prefix: str) -> list[Figure]:
    """Return every scaling figure that the run has records for."""
    figures = [make(sweeps, prefix) for make in _FIGURES]
    return [figure for figure in figures if figure is not None]


def _figure(
    prefix: str, title: str, caption: str, panels: Sequence[_Panel], height: float = 3.7
) -> Figure | None:
    shown = [panel for panel in panels if panel.lines]
    if not shown:
        return None
    key = slug(prefix, title)
    with new_figure(9.0, height) as figure:
        axes: Any = figure.subplots(1, len(shown), squeeze=False)[0]
        for ax, panel in zip(axes, shown, strict=True):
            if panel.curve is not None:
                draw_curve(ax, panel.curve[0], panel.curve[1], INK, panel.curve[2])
            draw(
                ax,
                panel.lines,
                title=panel.title,
                xlabel=panel.xlabel,
                y_scale=panel.y_scale,
                x_text=panel.x_text,
            )
        add_legend(figure, axes)
        svg = to_svg(figure, key)
    used = outcomes_of(line for panel in shown for line in panel.lines)
    return Figure(
        key=key,
        title=title,
        caption=caption,
        alt=". ".join(
            f"{panel.title} by {panel.xlabel}: {spoken(panel.lines, panel.unit, panel.x_text)}"
            for panel in shown
        ),
        svg=svg,
        provenance=provenance(used),
    )


def _time_figure(sweeps: Sweeps, prefix: str) -> Figure | None:
    points = sweeps.of("length")
    panel = partial(_Panel, xlabel="length L", unit="ms", y_scale="log", x_text=_thousands)
    return _figure(
        prefix,
        "Time against length",
        "Medians on logarithmic axes; other factors as in the base case. At the shortest length "
        "the diagonal alone is denser than the base density. A subject without a point was left "
        "out by a stated rule; the tables say which.",
        [
            panel("Forward + backward (ms)", lines_of(points, "length", _PEERS, metric_of(_BOTH))),
            panel("Forward (ms)", lines_of(points, "length", _PEERS, metric_of(_FORWARD))),
        ],
    )


def _block_figure(sweeps: Sweeps, prefix: str) -> Figure | None:
    band = lines_of(sweeps.of("per_block"), "per_block", _SPARSE, _time_per_block)
    lines = lines_of(sweeps.of("length"), "length", _SPARSE, _time_per_block)
    named = [Line(x.subject, x.xs, x.values, x.outcomes, f"{x.subject}, band") for x in band]
    return _figure(
        prefix,
        "Time per kept block against length",
        "Forward and backward time over B * H * kept blocks. A level line is time in proportion "
        "to the work. Dashed: three blocks per row; full: the base density.",
        [_Panel("Time per block (µs)", [*lines, *named], "length L", "µs", x_text=_thousands)],
    )


def _time_per_block(point: Point, subject: str) -> Estimate | None:
    """Return microseconds of forward and backward per kept block of one head."""
    value, n_blocks = point.estimate(subject, _BOTH), point.n_blocks
    if value is None or n_blocks is None:
        return None
    return scaled(value, 1e3 / (n_blocks * point.batch_heads))


def _density_figure(sweeps: Sweeps, prefix: str) -> Figure | None:
    points = sweeps.of("density")
    kept = [point.density or 1.0 for point in points]
    curve = (kept, [1 / density for density in kept], "1/d: in proportion to the kept blocks")
    panel = partial(
        _Panel,
        xlabel="kept blocks",
        unit="times",
        y_scale="log",
        x_text=format_percent,
        curve=curve,
    )
    panels = []
    for title, name in (("Forward + backward", _BOTH), ("Forward", _FORWARD)):
        lines = lines_of(points, "density", (*_SPARSE, "flex_forward"), _speedup_of(name))
        panels.append(panel(f"{title}: speed-up", lines))
    return _figure(
        prefix,
        "Speed-up over dense SDPA against density",
        "Ratio of medians within each case. The dotted line is the speed-up if time were "
        "proportional to the kept blocks and a block cost what it costs dense attention.",
        panels,
    )


def _speedup_of(name: str) -> Quantity:
    return lambda point, subject: point.speedup(subject, name)


def _factor_figure(sweeps: Sweeps, prefix: str) -> Figure | None:
    factors = (("head_dim", "head width D"), ("block_size", "block side"), ("heads", "B * H"))
    subjects = (*_SPARSE, BASELINE)
    rate = metric_of("flops_rate_gflops")
    return _figure(
        prefix,
        "Rate against head width, block side and number of heads",
        "Forward and backward, operations of the kept blocks only.",
        [
            _Panel(
                "Rate (GFLOP/s)",
                _longer(lines_of(sweeps.of(sweep), sweep, subjects, rate)),
                xlabel,
                "GFLOP/s",
            )
            for sweep, xlabel in factors
        ],
    )


def _longer(lines: list[Line]) -> list[Line]:
    """Leave out single points: dense attention has no block side."""
    return [line for line in lines if len(line.xs) > 1]


def _thread_figure(sweeps: Sweeps, prefix: str) -> Figure | None:
    points = [point for point in sweeps.of("threads") if point.has_numbers]
    one = next((point for point in points if point.threads == 1), None)
    if one is None or len(points) < 2:
        return None

    def gain(point: Point, subject: str) -> Estimate | None:
        name = "matmul_ms" if subject == SGEMM else _BOTH
        alone, own = one.metric(subject, name), point.metric(subject, name)
        return None if alone is None or own is None else ratio_of_medians(alone, own)

    threads = [float(point.threads) for point in points]
    lines = lines_of(points, "threads", (*_SPARSE, BASELINE, SGEMM), gain)
    return _figure(
        prefix,
        "Speed-up against threads",
        "Time on one thread over time on several, forward and backward; sgemm is one matrix "
        "product. The cases were measured one after the other.",
        [
            _Panel(
                "Speed-up over one thread",
                lines,
                "threads",
                "times",
                curve=(threads, threads, "in proportion to the threads"),
            )
        ],
    )


def _memory_figure(sweeps: Sweeps, prefix: str) -> Figure | None:
    points = sweeps.of("memory")
    quantity = metric_of("workspace_bytes")
    lines = lines_of(points, "memory", (*_SPARSE, BASELINE), _in_megabytes(quantity))
    return _figure(
        prefix,
        "Workspace against length",
        "Peak memory of forward and backward above inputs, output and gradients. The dotted line "
        "is the size of the output and the three gradients themselves, which grows with L * D.",
        [
            _Panel(
                "Workspace (MB)",
                lines,
                "length L",
                "MB",
                y_scale="log",
                x_text=_thousands,
                curve=(
                    [float(point.shape["L"]) for point in points],
                    [_output_megabytes(point) for point in points],
                    "output and gradients",
                ),
            )
        ],
    )


def _in_megabytes(quantity: Quantity) -> Quantity:
    def read(point: Point, subject: str) -> Estimate | None:
        value = quantity(point, subject)
        return None if value is None else scaled(value, 1e-6)

    return read


def _output_megabytes(point: Point) -> float:
    return 16e-6 * point.batch_heads * point.shape["L"] * point.shape["D"]


def _thousands(length: float) -> str:
    return f"{length / 1024:g}k"


_FIGURES: tuple[Callable[[Sweeps, str], Figure | None], ...] = (
    *(_time_figure, _block_figure, _density_figure),
    *(_factor_figure, _thread_figure, _memory_figure),
)
