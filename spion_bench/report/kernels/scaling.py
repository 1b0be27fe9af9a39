"""Figures of the kernel sweeps: how time, rate and memory follow one factor at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from spion_bench.records.paired import ratio_of_medians
from spion_bench.records.statistics import Estimate
from spion_bench.report.figures.lines import (
    Line,
    Scale,
    add_legend,
    draw,
    draw_curve,
    make_line,
    outcomes_of,
    spoken,
)
from spion_bench.report.kernels.points import BOTH, FACTORS, RATE, SGEMM, Point, Sweeps
from spion_bench.report.load import provenance
from spion_bench.report.parts import Figure, slug
from spion_bench.report.style import INK, new_figure, to_svg
from spion_bench.report.words import format_percent

_FORWARD = "forward_ms"

Quantity = Callable[[Point, str], Estimate | None]


@dataclass(frozen=True)
class _Panel:
    """One panel: its lines, drawn and in words.

    Attributes:
        title: What it shows, with its unit.
        lines: What is drawn.
        xlabel: The factor.
        unit: Unit of the values, for the words.
        y_scale: Scale of the vertical axis.
        x_text: How a value of the factor is written.
        curve: A model to draw next to the lines: its points and its name.
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


def _lines(
    sweeps: Sweeps,
    sweep: str,
    quantity: Quantity,
    implementations: Iterable[str] | None = None,
    name: str = "{}",
) -> list[Line]:
    """Return the lines of the implementations (of attention) that have at least one value."""
    lines = []
    for implementation in sweeps.attention if implementations is None else implementations:
        places = [
            (
                FACTORS[sweep](point),
                quantity(point, implementation),
                point.outcomes([implementation]),
            )
            for point in sweeps.of(sweep)
        ]
        line = make_line(implementation, sweeps.looks[implementation], places)
        if line is not None:
            lines.append(line if name == "{}" else replace(line, name=name.format(implementation)))
    return lines


def _metric(name: str, factor: float = 1.0) -> Quantity:
    def read(point: Point, implementation: str) -> Estimate | None:
        value = point.estimate(implementation, name)
        return None if value is None else value.scaled(factor)

    return read


def _figure(prefix: str, title: str, caption: str, panels: Sequence[_Panel]) -> Figure | None:
    shown = [panel for panel in panels if panel.lines]
    if not shown:
        return None
    key = slug(prefix, title)
    with new_figure(9.0, 3.5) as figure:
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
    panel = partial(_Panel, xlabel="length L", unit="ms", y_scale="log", x_text=_thousands)
    return _figure(
        prefix,
        "Time against length",
        "Medians on logarithmic axes; other factors as in the base case. At the shortest length "
        "the diagonal alone is denser than the base density. An implementation without a "
        "point was excluded by a stated rule; the tables name it.",
        [
            panel("Forward + backward (ms)", _lines(sweeps, "length", _metric(BOTH))),
            panel("Forward (ms)", _lines(sweeps, "length", _metric(_FORWARD))),
        ],
    )


def _block_figure(sweeps: Sweeps, prefix: str) -> Figure | None:
    lines = _lines(sweeps, "length", _time_per_block, sweeps.sparse)
    named = _lines(sweeps, "per_block", _time_per_block, sweeps.sparse, name="{}, band")
    return _figure(
        prefix,
        "Time per kept block against length",
        "Forward and backward time over B * H * kept blocks. A level line means that time is "
        "proportional to the work. Dashed: three blocks per row; full: the base density.",
        [_Panel("Time per block (µs)", [*lines, *named], "length L", "µs", x_text=_thousands)],
    )


def _time_per_block(point: Point, implementation: str) -> Estimate | None:
    """Return microseconds of forward and backward per kept block of one head."""
    value, n_blocks = point.estimate(implementation, BOTH), point.shape.n_blocks
    is_of_blocks = any(o.measured.pattern is not None for o in point.outcomes([implementation]))
    if value is None or n_blocks is None or not is_of_blocks:
        return None
    return value.scaled(1e3 / (n_blocks * point.batch_heads))


def _density_figure(sweeps: Sweeps, prefix: str) -> Figure | None:
    kept = [point.shape.density or 1.0 for point in sweeps.of("density")]
    curve = (kept, [1 / density for density in kept], "1/d: proportional to the kept blocks")
    panel = partial(
        _Panel,
        xlabel="kept blocks",
        unit="times",
        y_scale="log",
        x_text=format_percent,
        curve=curve,
    )
    panels = []
    for title, name in (("Forward + backward", BOTH), ("Forward", _FORWARD)):
        lines = _lines(sweeps, "density", _speedup_of(name), sweeps.sparse)
        panels.append(panel(f"{title}: speed-up", lines))
    return _figure(
        prefix,
        "Speed-up over dense SDPA against density",
        "Ratio of medians within each case. The dotted line is the speed-up if time were "
        "proportional to the kept blocks and a block cost as much as in dense attention.",
        panels,
    )


def _speedup_of(name: str) -> Quantity:
    return lambda point, implementation: point.speedup(implementation, name)


def _factor_figure(sweeps: Sweeps, prefix: str) -> Figure | None:
    factors = (("head_dim", "head width D"), ("block_size", "block size"), ("heads", "B * H"))
    return _figure(
        prefix,
        "Rate against head width, block size and number of heads",
        "Forward and backward; only the operations of the kept blocks are counted.",
        [
            _Panel(
                "Rate (GFLOP/s)",
                _longer(_lines(sweeps, sweep, _metric(RATE))),
                xlabel,
                "GFLOP/s",
            )
            for sweep, xlabel in factors
        ],
    )


def _longer(lines: list[Line]) -> list[Line]:
    """Leave out single points: dense attention has no block size."""
    return [line for line in lines if len(line.xs) > 1]


def _thread_figure(sweeps: Sweeps, prefix: str) -> Figure | None:
    points = [point for point in sweeps.of("threads") if point.has_numbers]
    one = next((point for point in points if point.threads == 1), None)
    if one is None or len(points) < 2:
        return None

    def gain(point: Point, implementation: str) -> Estimate | None:
        name = "matmul_ms" if implementation == SGEMM else BOTH
        alone, own = one.metric(implementation, name), point.metric(implementation, name)
        return None if alone is None or own is None else ratio_of_medians(alone, own)

    threads = [float(point.threads) for point in points]
    limits = [SGEMM] if SGEMM in sweeps.methods else []
    lines = _lines(sweeps, "threads", gain, [*sweeps.attention, *limits])
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
                curve=(threads, threads, "proportional to the threads"),
            )
        ],
    )


def _memory_figure(sweeps: Sweeps, prefix: str) -> Figure | None:
    points = sweeps.of("memory")
    lines = _lines(sweeps, "memory", _metric("workspace_bytes", 1e-6))
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
                    [float(point.shape.length) for point in points],
                    [_output_megabytes(point) for point in points],
                    "output and gradients",
                ),
            )
        ],
    )


def _output_megabytes(point: Point) -> float:
    return 16e-6 * point.batch_heads * point.shape.length * point.shape.head_dim


def _thousands(length: float) -> str:
    return f"{length / 1024:g}k"


_FIGURES: tuple[Callable[[Sweeps, str], Figure | None], ...] = (
    *(_time_figure, _block_figure, _density_figure),
    *(_factor_figure, _thread_figure, _memory_figure),
)
