"""The four ratios of SPION-CF as bars: how many times faster, against what, setting by setting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes

from spion_bench.records.ratios import KINDS, MEASURES, TRAINING, Comparison
from spion_bench.report.entries import STEP
from spion_bench.report.groups import Group, groups
from spion_bench.report.load import RecordSet
from spion_bench.report.style import INK, PAPER
from spion_bench.report.tables.ratios import ratios_of
from spion_bench.report.words import format_quantity

ABOUT_RATIOS: Final = (
    "Ratios beyond 1: SPION-CF is faster; pale bars are marked, and the tables say why."
)
_BAR: Final = "#d55e00"


def with_ratios(run: RecordSet) -> list[Group]:
    """Return the settings that have any of the four ratios."""
    return [group for group in groups(run, ("speed", "accuracy")) if ratios_of(group)]


def draw_ratios(ax: Axes, timed: Sequence[Group]) -> str:
    """Draw the four ratios of every setting as bars and return them in words."""
    all_ratios = [ratios_of(group) for group in timed]
    is_whole = any(ratio.measure == TRAINING for ratios in all_ratios for ratio in ratios)
    measure = TRAINING if is_whole else STEP.metric
    what = MEASURES[measure] if is_whole else "a training step; whole training: not measured"
    ax.set_title("SPION-CF: times faster than the")
    ax.set_xlabel(what)
    told, most = [], 1.0
    for place, (kind, label) in enumerate(KINDS.items()):
        bars = [
            (group, next((r for r in ratios if (r.kind, r.measure) == (kind, measure)), None))
            for group, ratios in zip(timed, all_ratios, strict=True)
        ]
        found = [(group, ratio) for group, ratio in bars if ratio is not None]
        y = -place + 0.36
        box = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.5}
        ax.text(0.0, y, f" {label}", va="center", fontsize=8.5, bbox=box)
        height = 0.68 / max(2, len(bars))
        for row, (group, ratio) in enumerate(found):
            shown = (
                f"{_ratio_text(ratio)}  {_where(group)}" if len(timed) > 1 else _ratio_text(ratio)
            )
            at = y - 0.14 - (row + 0.5) * height
            most = max(most, _draw_bar(ax, ratio, at, 0.86 * height, shown))
            told.append(f"{label} on {group.label}: {_ratio_text(ratio)}")
        if not found:
            at = y - 0.14 - 0.5 * height
            ax.text(0.0, at, "  not measured", va="center", fontsize=8, fontstyle="italic")
            told.append(f"{label}: not measured")
    ax.axvline(1.0, color=INK, linewidth=0.9)
    ax.set_yticks([])
    ax.set_ylim(-len(KINDS) + 0.5, 0.5)
    ax.set_xlim(0, max(2.0, most * 1.75))
    ax.grid(visible=True, axis="x")
    return f"SPION-CF times faster, {what}: {'; '.join(told)}."


def _where(group: Group) -> str:
    return f"{group.setting.task} {group.setting.length}"


def _draw_bar(ax: Axes, found: Comparison, y: float, height: float, shown: str) -> float:
    """Draw one ratio and return how far it reaches."""
    ratio, reach = found.ratio, found.ratio.value
    ax.barh(y, ratio.value, height, color=_BAR, alpha=0.45 if found.marks else 1.0)
    if ratio.low is not None and ratio.high is not None:
        ax.plot([ratio.low, ratio.high], [y, y], color=INK, linewidth=1.2)
        reach = max(reach, ratio.high)
    ax.annotate(
        shown, (reach, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8
    )
    return reach


def _ratio_text(found: Comparison) -> str:
    text = format_quantity(found.ratio.value, "times")[0]
    return f"{text} (marked)" if found.marks else text
