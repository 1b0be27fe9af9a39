"""The roofline figure: rates against arithmetic intensity, under the measured limits."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from spion_bench.records.statistics import Estimate
from spion_bench.report.figures.lines import add_legend, draw_curve, set_log_y
from spion_bench.report.kernels.points import COPY, RATE, SGEMM, Point, Sweeps
from spion_bench.report.load import Outcome, provenance
from spion_bench.report.parts import Figure
from spion_bench.report.style import INK, Look, new_figure, to_svg
from spion_bench.report.words import format_quantity

# Forward: q, k, v, out. Backward: q, k, v, out and its gradient, three gradients.
_TENSOR_PASSES = 12
_FLOP_PER_SCORE_AND_WIDTH = 14


def intensity(scores_per_row: float) -> float:
    """Return the operations per byte of a forward and backward pass in float32, a model.

    Every tensor is counted as read or written once per pass; scores stay in the cache.
    """
    return _FLOP_PER_SCORE_AND_WIDTH * scores_per_row / (_TENSOR_PASSES * 4)


def roofline_figure(sweeps: Sweeps, key: str) -> Figure | None:
    """Return the roofline of one run and its rate cases as shares of SGEMM, or None."""
    measured = [p for p in sweeps.points if p.has_numbers and "dtype" not in p.cell.sweeps]
    most_threads = max((point.threads for point in measured), default=0)
    points = [point for point in measured if point.threads == most_threads]
    placed = [
        (implementation, point, rate)
        for implementation in sweeps.attention
        for point in points
        if (rate := point.estimate(implementation, RATE)) is not None and 0 < rate.value < math.inf
    ]
    if not placed:
        return None
    rated = sweeps.of("rate")
    limits = [p for p in points if p.metric(SGEMM, RATE) or p.metric(COPY, "bandwidth")]
    used = [point.implementations[implementation] for implementation, point, _ in placed]
    used += [o for p in limits for o in p.outcomes([SGEMM, COPY])]
    with new_figure(9.0, 4.0) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        roofs = _draw_limits(left, limits)
        _draw_rates(left, placed, sweeps.looks)
        shares = _draw_shares(right, rated, sweeps)
        add_legend(figure, [left])
        svg = to_svg(figure, key)
    return Figure(
        key=key,
        title="Rates under the measured limits",
        caption=(
            "Left: rate of forward and backward against the modelled operations per byte, one "
            "point per case; dotted: the measured limits. Right: the rate cases (three blocks per "
            "row) as shares of SGEMM's rate in the same case, with 95 % intervals."
        ),
        alt=f"{roofs} {_spoken(placed)} Shares of SGEMM: {shares or 'not measured'}.",
        svg=svg,
        provenance=provenance(_once(used)),
    )


def scores_per_row(point: Point, implementation: str) -> float:
    """Return how many keys a query sees on average, from the implementation's pattern or window."""
    outcome = point.implementations[implementation]
    pattern = outcome.measured.pattern
    if pattern is not None:
        return pattern.nnzb[0] / (pattern.length // pattern.block_size) * pattern.block_size
    return float(outcome.method.arguments.get("window") or 0) + 1


def _draw_limits(ax: Axes, limits: Sequence[Point]) -> str:
    """Draw the compute and memory roofs; return them in words."""
    sgemm = _middle([p.estimate(SGEMM, RATE) for p in limits])
    bandwidth = _middle([p.estimate(COPY, "bandwidth") for p in limits])
    spoken = []
    if sgemm is not None:
        ax.axhline(sgemm, color=INK, linewidth=1.2, linestyle=(0, (2, 2)))
        text = f"SGEMM {format_quantity(sgemm, 'GFLOP/s')[0]}"
        ax.annotate(
            text,
            (1, sgemm),
            xycoords=("axes fraction", "data"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
        spoken.append(f"{text}.")
    if sgemm is not None and bandwidth is not None:
        ridge = sgemm / bandwidth
        text = f"memory copy {format_quantity(bandwidth, 'GB/s')[0]}"
        draw_curve(ax, [ridge / 4, ridge], [sgemm / 4, sgemm], INK, text)
        spoken.append(f"{text}.")
    return " ".join(spoken)


def _middle(found: Sequence[Estimate | None]) -> float | None:
    values = sorted(estimate.value for estimate in found if estimate is not None)
    return values[len(values) // 2] if values else None


def _draw_rates(
    ax: Axes, placed: Sequence[tuple[str, Point, Estimate]], looks: dict[str, Look]
) -> None:
    for implementation in dict.fromkeys(implementation for implementation, _, _ in placed):
        own = [(point, rate) for name, point, rate in placed if name == implementation]
        ax.plot(
            [intensity(scores_per_row(point, implementation)) for point, _ in own],
            [rate.value for _, rate in own],
            looks[implementation].marker,
            color=looks[implementation].colour,
            markersize=5,
            alpha=0.8,
            label=implementation,
        )
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    set_log_y(ax)
    ax.set_title("Forward + backward (GFLOP/s)")
    ax.set_xlabel("operations per byte (modelled)")


def _draw_shares(ax: Axes, rated: Sequence[Point], sweeps: Sweeps) -> str:
    """Draw each rate case's shares of SGEMM; return them in words."""
    spoken = []
    names = []
    shown = [n for n in sweeps.sparse if any(p.metric(n, RATE) for p in rated)]
    height = 0.5 / max(1, len(shown))
    for place, point in enumerate(reversed(rated)):
        shape = point.shape
        names.append(f"D\u00a0=\u00a0{shape.head_dim}, block\u00a0{shape.block_size}")
        for number, implementation in enumerate(shown):
            share = point.ratio((implementation, RATE), (SGEMM, RATE))
            if share is None or not math.isfinite(share.value):
                continue
            y = place + height * ((len(shown) - 1) / 2 - number)
            ax.barh(
                y,
                100 * share.value,
                height=0.85 * height,
                color=sweeps.looks[implementation].colour,
            )
            if share.low is not None and share.high is not None:
                ax.plot([100 * share.low, 100 * share.high], [y, y], color=INK, linewidth=1.2)
            text = format_quantity(share.value, "ratio")[0]
            ax.annotate(
                text,
                (100 * max(share.value, share.high or 0), y),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
            spoken.append(f"{names[-1]} {implementation} {text}")
    ax.set_yticks(range(len(names)), names)
    ax.set_xlim(0, 112)
    ax.set_axisbelow(True)
    ax.set_title("Share of SGEMM's rate (%)")
    ax.grid(visible=True, axis="x")
    ax.grid(visible=False, axis="y")
    return "; ".join(spoken)


def _spoken(placed: Sequence[tuple[str, Point, Estimate]]) -> str:
    parts = []
    for implementation in dict.fromkeys(implementation for implementation, _, _ in placed):
        rates = [rate.value for name, _, rate in placed if name == implementation]
        low, high = (format_quantity(end, "GFLOP/s")[0] for end in (min(rates), max(rates)))
        parts.append(f"{implementation} from {low} to {high} over {len(rates)} cases.")
    return " ".join(parts)


def _once(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return list({outcome.record.key: outcome for outcome in outcomes}.values())
