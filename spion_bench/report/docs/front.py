"""The front of README.md: one sentence, one table and one picture of the timed training steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from spion_bench.records import MethodInfo
from spion_bench.records.paired import ratio_in_turn
from spion_bench.records.ratios import CHAMPION, KINDS, Comparison
from spion_bench.records.statistics import Estimate
from spion_bench.report.docs.markdown import shown
from spion_bench.report.entries import STEP
from spion_bench.report.evidence.of_group import may_compare
from spion_bench.report.evidence.worth import against_window
from spion_bench.report.groups import Group, groups
from spion_bench.report.load import RecordSet
from spion_bench.report.methods import BASELINE
from spion_bench.report.parts import Entry
from spion_bench.report.style import INK, new_figure, to_svg
from spion_bench.report.tables.ratios import ratio_entry, ratios_of
from spion_bench.report.words import format_quantity, join_words
from spion_bench.suite.pages import markdown_table

THEMES: Final = {
    "light": "svg{color:#1b1f24;--grid:#d9dde2}",
    "dark": "svg{color:#e4e7eb;--grid:#3a4149}",
}
"""Theme -> the colours of text and grid."""

ALT: Final = "How many times faster a training step is than with dense attention, for every method"

_KINDS_SHOWN: Final = ("rival", "isolates", "reference")
_ROW_INCHES, _EDGES_INCHES = 0.19, 0.9


def front_section(run: RecordSet) -> str:
    """Return the picture, and the ratios of a training step in every setting."""
    settings = groups(run, ("speed",))
    picture = "\n".join(
        [
            "<picture>",
            '<source media="(prefers-color-scheme: dark)" srcset="docs/pictures/steps-dark.svg">',
            f'<img alt="{ALT}" src="docs/pictures/steps-light.svg">',
            "</picture>",
        ]
    )
    header = ("A training step with SPION-CF is faster than", *(group.label for group in settings))
    parts = [picture, markdown_table(header, _ratio_rows(settings)), _marks(settings)]
    return "\n\n".join(part for part in parts if part)


def first_sentence(run: RecordSet, *studies: RecordSet) -> str:
    """Return in one sentence what the learned pattern is worth, and how much faster a step is."""
    step, worth = _step(run), _worth(studies)
    if worth is None:
        unknown = "whether the pattern that it learns is worth more than a window of the same cost"
        return f"On a CPU, {step}; {unknown} is not measured yet, and no GPU has run anything."
    return f"{worth}; on a CPU, {step}; no GPU has run anything."


def _step(run: RecordSet) -> str:
    """Say how much faster a step is, in the settings whose times are not marked."""
    settings = [
        group
        for group in groups(run, ("speed",))
        if not any(cells.marks("speed") for cells in group.methods.values())
    ]
    dense = [r.value for group in settings if (r := _speedup(group, CHAMPION)) is not None]
    leads = [c.ratio.value for group in settings if (c := _lead(group)) is not None]
    rivals = {
        name
        for group in settings
        for name, cells in group.methods.items()
        if cells.info.role == "rival" and _speedup(group, name) is not None
    }
    if not leads:
        return "no time of a training step is free of marks"
    return (
        f"a training step with SPION-CF is {_span(leads)} as fast as with the fastest of "
        f"{len(rivals)} settings of other sparse attention, and {_span(dense)} as fast as with "
        "PyTorch's dense attention"
    )


def _worth(studies: Sequence[RecordSet]) -> str | None:
    """Say what the learned pattern is worth wherever accuracies measure attention."""
    parts = []
    for study in studies:
        for group in groups(study, ("accuracy",)):
            worth = against_window(group)
            if worth is not None and may_compare(group):
                lead = Entry.estimate(worth.lead, "points")
                shown = f"{lead.text} {lead.interval}".strip()
                parts.append(
                    f"{worth.verdict} a window of the same cost on {group.label} ({shown})"
                )
    return f"The pattern that SPION-CF learns is {join_words(parts)}" if parts else None


def steps_picture(run: RecordSet, theme: str) -> str:
    """Return the picture of all methods' steps as an SVG file's content, in one theme."""
    settings = groups(run, ("speed",))
    infos = _shown_methods(settings)
    with new_figure(9.5, _EDGES_INCHES + _ROW_INCHES * len(infos)) as figure:
        axes = figure.subplots(1, len(settings), sharex=True, sharey=True, squeeze=False)[0]
        for ax, group in zip(axes, settings, strict=True):
            _draw(ax, group, infos, run)
        figure.supxlabel("training step: times faster than dense_sdpa", fontsize=9.5)
        svg = to_svg(figure, f"steps-{theme}")
    return svg.replace(">", f"><style>{THEMES[theme]}</style>", 1)


def _ratio_rows(settings: Sequence[Group]) -> list[tuple[str, ...]]:
    ratios = [
        {c.kind: c for c in ratios_of(group) if c.measure == STEP.metric} for group in settings
    ]
    rows = [
        (
            "dense attention (`dense_sdpa`)",
            *(shown(_dense_entry(group)) for group in settings),
        )
    ]
    for kind, label in KINDS.items():
        found = [_pointing(r.get(kind)) for r in ratios]
        rows.append((label, *(shown(ratio_entry(c), noted=c is not None) for c in found)))
    return rows


def _pointing(comparison: Comparison | None) -> Comparison | None:
    """Return a ratio whose marks are said once, below the table."""
    if comparison is None or not comparison.marks:
        return comparison
    return replace(comparison, marks=("see below",))


def _marks(settings: Sequence[Group]) -> str:
    """Say why times are marked, setting by setting; nothing where none is."""
    found = {
        group.label: join_words(group.baseline.marks(STEP.pass_name))
        for group in settings
        if group.baseline and group.baseline.marks(STEP.pass_name)
    }
    said = "; ".join(f"{label}: {why}" for label, why in found.items())
    return f"Marked times speak for no claim. {said}." if said else ""


def _dense_entry(group: Group) -> Entry:
    ratio = _speedup(group, CHAMPION)
    if ratio is None:
        return Entry.missing("not timed")
    if group.baseline is not None and group.baseline.marks(STEP.pass_name):
        return Entry.estimate(ratio, "times", note="marked: see below", flag="warning")
    return Entry.estimate(ratio, "times")


def _lead(group: Group) -> Comparison | None:
    found = [c for c in ratios_of(group) if (c.kind, c.measure) == ("fastest", STEP.metric)]
    return found[0] if found else None


def _speedup(group: Group, method: str) -> Estimate | None:
    """Return how many times faster a method's step is than the baseline's."""
    cells = group.methods.get(method)
    own = cells.metric(STEP.pass_name, STEP.metric) if cells else None
    base = group.baseline.metric(STEP.pass_name, STEP.metric) if group.baseline else None
    return None if own is None or base is None else ratio_in_turn(base, own)


def _span(values: Sequence[float]) -> str:
    low, high = (format_quantity(value, "times")[0] for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _shown_methods(settings: Sequence[Group]) -> list[MethodInfo]:
    """Return what was timed, fastest in the last setting first; of SPION's variants CF alone."""
    last = settings[-1]
    found = {
        name: ratio.value
        for name, cells in last.methods.items()
        if (name == CHAMPION or cells.info.role in _KINDS_SHOWN) and name != BASELINE
        if (ratio := _speedup(last, name)) is not None
    }
    return [last.methods[name].info for name in sorted(found, key=lambda n: found[n])]


def _draw(ax: Axes, group: Group, infos: Sequence[MethodInfo], run: RecordSet) -> None:
    for row, info in enumerate(infos):
        ratio = _speedup(group, info.name)
        if ratio is None:
            continue
        colour = run.looks[info.name].colour
        face = "none" if info.role == "isolates" else colour
        if ratio.low is not None and ratio.high is not None:
            ax.plot([ratio.low, ratio.high], [row, row], color=colour, linewidth=2.5, alpha=0.5)
        ax.plot([ratio.value], [row], "o", color=colour, markerfacecolor=face, markersize=5)
    ax.axvline(1.0, color=INK, linewidth=0.8)
    ax.set_title(group.label)
    ax.set_xscale("log", base=2)
    ax.set_xticks([0.25, 0.5, 1, 2, 4])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}\u00d7"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_yticks(range(len(infos)), [info.name for info in infos])
    ax.grid(visible=True, axis="x")
    ax.grid(visible=False, axis="y")
