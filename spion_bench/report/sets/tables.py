"""The tables of a comparison: every number in a column per set, and its differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import Final

from spion_bench.compare.verdict import LEVEL, SAME_WITHIN
from spion_bench.report.load import Outcome, provenance
from spion_bench.report.parts import Column, Entry, Table, slug
from spion_bench.report.sets.compared import Compared, Shown
from spion_bench.report.sets.lines import Line, is_number
from spion_bench.report.sets.read import Sets
from spion_bench.report.sets.ways import FAMILY_LEVEL
from spion_bench.report.words import join_words, plural

MOST_FIRST: Final = 6
"""Rows of the first table; all are in the sections."""

HOW_JUDGED: Final = (
    f"Ratios are those of two runs, which took no turns: not paired, {LEVEL:.0%} intervals of "
    "times and memory, 95 % of others. More or less: the interval excludes 1 (of accuracies 0) "
    "and, of times, lies outside what the baseline did over itself (A/A) in both runs. Same: it "
    f"lies within {SAME_WITHIN:.0%} of 1. Unclear: neither, A/A is unknown, or "
    "clear only by itself: all numbers of two sets are judged together, so that by noise within "
    f"the runs any of them seems to change with a chance of {FAMILY_LEVEL:.0%} (Holm, p values "
    "from the intervals). What changed in a machine between two runs is in no interval."
)


def first_table(sets: Sets, lines: Mapping[Compared, Sequence[Line]]) -> Table:
    """Return the largest clear differences of every kind of number, in turns."""
    ranked = [sorted(filter(_is_compared, those), key=_place) for those in lines.values()]
    compared = [line for turn in zip_longest(*ranked) for line in turn if line is not None]
    shown = compared[:MOST_FIRST]
    more = len(compared) - len(shown)
    rest = f" {plural(more, 'more row')} in the sections below." if more else ""
    order = "Of each kind of number the largest clear differences first."
    if not compared:
        order = "Nothing was measured alike: the section \u201cWhat is not compared\u201d says why."
    what = " ".join(f"{one.name}: {one.source}, on {one.machine_text}." for one in sets.each)
    return _table(
        sets,
        shown,
        is_first=True,
        key="differences",
        title="What differs most",
        caption=f"{what} {order}{rest}",
    )


def _is_compared(line: Line) -> bool:
    return any(one is not None and one.estimate is not None for one in line.differences)


def _place(line: Line) -> tuple[bool, bool, bool, float]:
    """Return what orders the first table: clear, judged, SPION or dense, how far."""
    is_judged = any(one is not None and one.verdict for one in line.differences)
    infos = [side.cells.info for side in line.row.sides if side is not None]
    is_main = any(info.role in ("subject", "reference") for info in infos)
    return line.reach == 0, not is_judged, not is_main, -line.reach


def number_table(sets: Sets, section: Shown, lines: Sequence[Line]) -> Table:
    """Return the numbers of a section, of every method in every place, a column per set."""
    return _table(
        sets,
        lines,
        is_first=False,
        key=slug("sets", section.key),
        title=f"{section.title}, set by set",
        caption=_CAPTIONS.get(section.key, HOW_JUDGED),
    )


_CAPTIONS: Final = {
    "accuracy": (
        "Differences are paired by seed, with t intervals. Where a place is not shown to measure "
        "attention in both sets, accuracies are greyed and a difference has no verdict."
    ),
    "breakdown": (
        "Of one profile in each set, so without intervals and verdicts. The profiler slows a step "
        "down: shares may be compared, not times."
    ),
}


def _table(
    sets: Sets, lines: Sequence[Line], *, is_first: bool, key: str, title: str, caption: str
) -> Table:
    columns: list[Column[Line]] = [
        Column.text("method", "Method", lambda line: line.row.method),
        Column.text("setting", "Where", lambda line: line.row.label),
    ]
    if is_first or len({line.number for line in lines}) > 1:
        columns.append(Column.text("number", "What", lambda line: line.number.label))
    for place, one in enumerate(sets.each):
        columns.append(
            Column(one.name.lower(), one.name, partial(_own_entry, place=place, is_first=is_first))
        )
    for place, one in enumerate(sets.others):
        label = f"{one.name} against {sets.first.name}"
        columns.append(Column(slug(label), label, partial(_entry, sets=sets, place=place)))
    outcomes = {outcome.anchor: outcome for line in lines for outcome in _outcomes(line)}
    return Table.of(
        lines,
        columns,
        provenance=provenance(outcomes.values()),
        row_keys=tuple(
            slug(
                key,
                line.number.key,
                line.row.method,
                line.row.label,
            )
            for line in lines
        ),
        key=key,
        title=title,
        caption=caption,
    )


def _own_entry(line: Line, place: int, *, is_first: bool) -> Entry:
    """Return a set's number; on the first screen without what the sections say of its interval."""
    entry = line.entries[place]
    return replace(entry, note="") if is_first and is_number(entry) else entry


def _entry(line: Line, sets: Sets, place: int) -> Entry:
    found = line.differences[place]
    if found is None:
        have = [
            one.name
            for one, entry in zip(sets.each, line.entries, strict=True)
            if is_number(entry) and one in (sets.first, sets.others[place])
        ]
        return Entry.absent(f"only in {have[0]}" if have else "in neither")
    if found.estimate is None:
        return Entry("not compared", note="; ".join(found.reasons), flag="missing")
    notes = [line.number.word(found.verdict)] if found.verdict else ["no verdict"]
    notes += ["clear only by itself"] if found.is_one_of_many else []
    notes += ["range"] if found.estimate.kind == "range" else []
    entry = Entry.estimate(
        found.estimate,
        line.number.unit,
        note=", ".join(notes),
        flag="" if found.verdict else "greyed",
    )
    return entry.drawn_from(found.outcomes)


def _outcomes(line: Line) -> list[Outcome]:
    return [o for side in line.row.sides if side for o in line.number.involved(side)]


def apart_table(sets: Sets, lines: Mapping[Compared, Sequence[Line]]) -> Table | None:
    """Return what is not compared and why, alike cases together; None if nothing is."""
    found: dict[tuple[str, str, str], list[Line]] = {}
    for number, those in lines.items():
        for line in those:
            for place in range(len(sets.others)):
                entry = _entry(line, sets, place)
                if not is_number(entry):
                    pair = f"{sets.first.name} and {sets.others[place].name}"
                    found.setdefault((number.label, pair, entry.note), []).append(line)
    if not found:
        return None
    return Table.of(
        found.items(),
        [
            Column.text("number", "What", lambda item: item[0][0]),
            Column.text("sets", "Sets", lambda item: item[0][1]),
            Column.text("reason", "Why", lambda item: item[0][2]),
            Column("cases", "Cases", lambda item: Entry.number(len(item[1]), "count")),
            Column.text("where", "Where", lambda item: "; ".join(_wheres(item[1]))),
        ],
        key="apart",
        title="What is not compared",
        caption="Shown side by side above, but without a ratio or a difference.",
        provenance=provenance(sets.together.outcomes),
    )


def _wheres(lines: Sequence[Line]) -> list[str]:
    by_label: dict[str, list[str]] = {}
    for line in lines:
        by_label.setdefault(line.row.label, []).append(line.row.method)
    return [f"{label}: {join_words(methods)}" for label, methods in by_label.items()]
