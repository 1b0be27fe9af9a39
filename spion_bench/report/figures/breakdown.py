"""Where a training step goes: the share of each part, a bar per method."""

from __future__ import annotations

from spion_bench.report.groups import Group, groups
from spion_bench.report.load import RecordSet, provenance
from spion_bench.report.parts import Figure, slug
from spion_bench.report.style import new_figure, to_svg
from spion_bench.report.tables.breakdown import PART_LABELS, shares_of
from spion_bench.report.words import format_percent

# Attention first and strongest; the other parts in greys that a reader can tell apart.
_COLOURS = ("#1f5fa8", "#3c3c3c", "#5e5e5e", "#808080", "#a2a2a2", "#c4c4c4", "#e6e6e6")


def breakdown_figures(run: RecordSet) -> list[Figure]:
    """Return, per setting, one bar per method, divided into the parts of a step."""
    figures = [_figure(group) for group in groups(run, ("breakdown",))]
    return [figure for figure in figures if figure is not None]


def _figure(group: Group) -> Figure | None:
    shares = {name: found for name, c in group.methods.items() if (found := shares_of(c))}
    if not shares:
        return None
    key = slug("breakdown", "figure", group.label)
    names = list(reversed(shares))
    with new_figure(9.0, 1.1 + 0.34 * len(names)) as figure:
        ax = figure.subplots()
        left = [0.0] * len(names)
        for (part, label), colour in zip(PART_LABELS.items(), _COLOURS, strict=True):
            widths = [100 * shares[name].get(part, 0.0) for name in names]
            ax.barh(names, widths, left=left, color=colour, label=label, height=0.7)
            left = [start + width for start, width in zip(left, widths, strict=True)]
        ax.set_xlim(0, 100)
        ax.set_xlabel("% of a training step")
        ax.grid(visible=False, axis="y")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=7, fontsize=8, frameon=False)
        svg = to_svg(figure, key)
    return Figure(
        key=key,
        title=f"{group.label}: where a training step goes",
        caption="Share of a profiled training step, forward and backward together, by method.",
        alt="; ".join(
            f"{name}: attention {format_percent(found['attention'])}"
            for name, found in shares.items()
        ),
        svg=svg,
        provenance=provenance(group.outcomes),
    )
