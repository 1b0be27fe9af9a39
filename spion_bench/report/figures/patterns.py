"""Pictures of patterns: attention map, pooled map and kept blocks of every layer, side by side."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from spion_bench.records.artifacts import Layer
from spion_bench.report.groups import Group, groups, is_what_it_says
from spion_bench.report.load import Outcome, RecordSet, provenance
from spion_bench.report.parts import Figure, slug
from spion_bench.report.style import GRID, INK, new_figure, to_svg
from spion_bench.report.tables.training import describe_transition
from spion_bench.report.words import format_percent

COLOUR_MAP = "viridis"
LOW_PERCENTILE = 5.0
HIGH_PERCENTILE = 99.9

_PANEL_INCHES = 2.75
_BAR_HEIGHT = 0.045  # of the colour bar, as a share of a panel
_DIAGONAL_ALPHA = 0.4


def pattern_figures(run: RecordSet) -> list[Figure]:
    """Return one figure per SPION run with an artifact; of each method the first one is open."""
    figures = []
    for group in groups(run, ("accuracy",)):
        for cells in group.methods.values():
            shown = [o for o in cells.of("accuracy") if o.artifact and o.artifact.layers]
            figures += [
                _pattern_figure(group, outcome, run.looks[cells.method].colour, collapsed=place > 0)
                for place, outcome in enumerate(shown)
            ]
    return figures


def _pattern_figure(group: Group, outcome: Outcome, colour: str, *, collapsed: bool) -> Figure:
    layers = outcome.artifact.layers if outcome.artifact else ()
    length, method, seed = group.setting.length, outcome.method.name, outcome.cell.seed
    name = slug("pattern", group.label, method, f"seed {seed}")
    with new_figure(3 * _PANEL_INCHES, _PANEL_INCHES * len(layers) + 0.6) as figure:
        ratios = [*(1.0 for _ in layers), _BAR_HEIGHT]
        axes = figure.subplots(len(layers) + 1, 3, squeeze=False, height_ratios=ratios)
        _draw_maps(axes[:, 0], [layer.attention * length for layer in layers], length)
        _draw_maps(axes[:, 1], [layer.pooled for layer in layers], length)
        axes[-1, 2].set_axis_off()
        for place, (row, layer) in enumerate(zip(axes[:-1], layers, strict=True)):
            _draw_blocks(row[2], layer, length, colour)
            row[0].set_ylabel(f"layer {place + 1}\nquery token")
            row[2].set_title(_kept_text(layer))
        axes[0, 0].set_title("attention \u00d7 L")
        axes[0, 1].set_title("pooled")
        for ax in axes[-2]:
            ax.set_xlabel("key token")
        svg = to_svg(figure, name)
    label = "" if is_what_it_says(outcome) else ", not SPION"
    kept = "; ".join(f"layer {i + 1}: {_kept_text(layer)}" for i, layer in enumerate(layers))
    return Figure(
        key=name,
        title=f"{group.label}, {method}, seed {seed}{label}",
        caption=_caption(outcome, layers),
        alt=f"Attention map, pooled map and kept blocks of {len(layers)} layers. {kept}.",
        svg=svg,
        provenance=f"{provenance([outcome])[:-1]} and its artifact {_artifact_name(outcome)}.",
        collapsed=collapsed,
    )


def _caption(outcome: Outcome, layers: tuple[Layer, ...]) -> str:
    transition = outcome.measured.transition
    when = f" Taken at the transition, {describe_transition(transition)}." if transition else ""
    forced = sum(int((layer.kept & ~layer.selected).sum()) for layer in layers)
    faint = ""
    if forced:
        faint = f" Faint blocks ({forced}) are kept only because the diagonal is always kept."
    return (
        "Left: attention, averaged over heads and a batch, in multiples of uniform attention 1/L. "
        "Middle: the pooled map from which blocks are chosen, one value per block. Right: the "
        f"blocks kept.{faint} Colour: {COLOUR_MAP}, logarithmic, from the {LOW_PERCENTILE:g}th to "
        f"the {HIGH_PERCENTILE:g}th percentile over all layers; values beyond are clipped.{when}"
    )


def _artifact_name(outcome: Outcome) -> str:
    return ", ".join(outcome.measured.artifacts)


def _draw_maps(axes: NDArray[Any], maps: list[NDArray[Any]], length: int) -> None:
    """Draw one map per layer, and their shared logarithmic colour scale into the last axes."""
    low, high = _colour_range(maps)
    for ax, values in zip(axes[:-1], maps, strict=True):
        image = ax.imshow(
            np.clip(values, low, high),
            norm=LogNorm(low, high),
            cmap=COLOUR_MAP,
            interpolation="none",
            extent=(0, length, length, 0),
        )
        _square(ax, length)
    bar = axes[-1].figure.colorbar(image, cax=axes[-1], orientation="horizontal")
    bar.outline.set_visible(False)
    ticks = (low, math.sqrt(low * high), high)
    bar.set_ticks(ticks, labels=[f"{tick:.2g}" for tick in ticks])
    bar.minorticks_off()


def _colour_range(maps: list[NDArray[Any]]) -> tuple[float, float]:
    """Return the values of the lowest and the highest colour."""
    finite = np.concatenate([values[np.isfinite(values) & (values > 0)] for values in maps])
    if not len(finite):
        return 1e-3, 1.0  # nothing to show: all clipped to the lowest colour
    low, high = np.percentile(finite, [LOW_PERCENTILE, HIGH_PERCENTILE])
    return float(low), max(float(high), float(low) * 1.01)


def _draw_blocks(ax: Axes, layer: Layer, length: int, colour: str) -> None:
    side = length / len(layer.kept)
    for mask, alpha in (
        (layer.kept & layer.selected, 1.0),
        (layer.kept & ~layer.selected, _DIAGONAL_ALPHA),
    ):
        squares = [Rectangle((c * side, r * side), side, side) for r, c in np.argwhere(mask)]
        if squares:
            ax.add_collection(
                PatchCollection(squares, facecolor=colour, edgecolor="none", alpha=alpha)
            )
    for edge in np.arange(0, length + side / 2, length / 8):
        ax.axhline(edge, color=GRID, linewidth=0.5)
        ax.axvline(edge, color=GRID, linewidth=0.5)
    ax.set_xlim(0, length)
    ax.set_ylim(length, 0)
    _square(ax, length)


def _square(ax: Axes, length: int) -> None:
    ax.set_aspect("equal")
    ax.grid(visible=False)
    ax.set_xticks([0, length // 2, length])
    ax.set_yticks([0, length // 2, length])
    for spine in ax.spines.values():
        spine.set_visible(True)
        spine.set_color(INK)


def _kept_text(layer: Layer) -> str:
    kept, blocks = int(layer.kept.sum()), layer.kept.size
    return f"{kept} of {blocks} blocks ({format_percent(kept / blocks)})"
