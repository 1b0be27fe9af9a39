"""What the learned pattern is worth, as a picture: SPION-CF minus each alternative, by setting."""

from __future__ import annotations

from matplotlib.axes import Axes

from spion_bench.report.evidence.of_group import may_compare
from spion_bench.report.evidence.worth import Worth, worth_sentence, worths_of
from spion_bench.report.groups import Group, groups
from spion_bench.report.load import RecordSet, provenance
from spion_bench.report.methods import CHAMPION
from spion_bench.report.parts import Figure, slug
from spion_bench.report.style import GREY, INK, Look, new_figure, to_svg
from spion_bench.report.words import format_quantity

_WIDTH, _EDGES, _ROW = 7.0, 0.8, 0.3  # inches


def worth_figures(run: RecordSet) -> list[Figure]:
    """Return, per setting with replacements, the lead of the learned pattern over each of them."""
    figures = []
    for group in groups(run, ("accuracy",)):
        found = worths_of(group)
        if any(worth.other.info.role == "isolates" for worth in found):
            figures.append(_figure(group, found, run.looks))
    return figures


def _figure(group: Group, found: list[Worth], looks: dict[str, Look]) -> Figure:
    key = slug("worth", "figure", group.label)
    compares = may_compare(group)
    with new_figure(_WIDTH, _EDGES + _ROW * len(found)) as figure:
        ax = figure.subplots()
        told = [
            _draw(ax, row, worth, looks[worth.other.method].colour if compares else GREY)
            for row, worth in enumerate(reversed(found))
        ]
        ax.axvline(0.0, color=INK, linewidth=0.8)
        ax.set_yticks(range(len(found)), [worth.other.method for worth in reversed(found)])
        ax.set_ylim(-0.6, len(found) - 0.4)
        ax.set_xlabel(f"points of test accuracy: SPION-{CHAMPION} is better to the right of 0")
        ax.grid(visible=True, axis="x")
        ax.grid(visible=False, axis="y")
        svg = to_svg(figure, key)
    return Figure(
        key=key,
        title=f"{group.label}: what the learned pattern is worth",
        caption=(
            f"{worth_sentence(group) or ''} Means of the differences of each seed with their 95 % "
            "t interval; all continue the same dense prefixes."
        ).strip(),
        alt="; ".join(reversed(told)),
        svg=svg,
        provenance=provenance(o for worth in found for o in worth.other.proven()),
    )


def _draw(ax: Axes, row: int, worth: Worth, colour: str) -> str:
    """Draw one lead and return it in words."""
    lead = worth.lead
    if lead.low is not None and lead.high is not None:
        ends = [100 * lead.low, 100 * lead.high]
        ax.plot(ends, [row, row], color=colour, linewidth=2.5, alpha=0.5)
    ax.plot([100 * lead.value], [row], "o", color=colour, markersize=5)
    return f"{worth.other.method}: {format_quantity(lead.value, 'points')[0]}"
