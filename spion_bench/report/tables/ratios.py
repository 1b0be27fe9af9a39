"""The four ratios of SPION-CF, side by side, and how the turns were taken that they come from."""

from __future__ import annotations

from functools import lru_cache

from spion_bench.records import Record, Turn
from spion_bench.records.ratios import (
    CHAMPION,
    KINDS,
    MEASURES,
    Comparison,
    Kind,
    four_ratios,
    speed_turns,
)
from spion_bench.records.statistics import median_of
from spion_bench.report.groups import Group, groups, source_note
from spion_bench.report.load import Outcome, RecordSet, provenance
from spion_bench.report.parts import Column, Entry, Table, slug
from spion_bench.report.words import format_quantity, join_words


@lru_cache(maxsize=1024)  # with exact tests, asked for by every part of a report
def ratios_of(group: Group) -> list[Comparison]:
    """Return the ratios of a setting: of its first turn that has any."""
    records = [outcome.record for outcome in group.outcomes]
    found = (four_ratios(turn, records) for turn in speed_turns(records))
    return next((ratios for ratios in found if ratios), [])


def ratio_tables(run: RecordSet) -> list[Table]:
    """Return, per setting, how many times faster SPION-CF is, by kind and by what is compared."""
    return [
        _table(group, found)
        for group in groups(run, ("speed", "accuracy"))
        if (found := ratios_of(group))
    ]


def _table(group: Group, found: list[Comparison]) -> Table:
    by_place = {(comparison.kind, comparison.measure): comparison for comparison in found}

    def column(measure: str, label: str) -> Column[Kind]:
        return Column(
            f"{measure}_ratio",
            f"{label.capitalize()}: times faster",
            lambda kind: _traced(group, by_place.get((kind, measure))),
        )

    return Table.of(
        KINDS,
        [
            Column.text("against", "SPION-CF against", lambda kind: KINDS[kind]),
            *(column(measure, label) for measure, label in MEASURES.items()),
        ],
        key=slug("ratios", group.label),
        title=f"{group.label}: the four ratios",
        caption=(
            f"{source_note(group)} Whole training is computed from the times of single steps: "
            "dense steps, patterns and sparse steps as in the accuracy cells of the same setting. "
            "The last row isolates the shape of the pattern and is expected near 1."
        ),
        provenance=provenance(group.outcomes),
    )


def ratio_entry(comparison: Comparison | None) -> Entry:
    """Return a ratio with what it is against; one of a marked turn says so."""
    if comparison is None:
        return Entry.missing("no pair of numbers in this setting")
    note, marks = f"against {comparison.against}; {comparison.ratio.basis}", comparison.marks
    note += f"; marked: {join_words(list(marks))}" if marks else ""
    return Entry.estimate(comparison.ratio, "times", note=note, flag="warning" if marks else "")


def _traced(group: Group, comparison: Comparison | None) -> Entry:
    """Return a ratio that leads to the records of both its sides."""
    against = "" if comparison is None else comparison.against
    sides = [group.methods[name] for name in (CHAMPION, against) if name in group.methods]
    outcomes = [outcome for cells in sides for outcome in cells.ok("speed")]
    entry = ratio_entry(comparison)
    return entry if comparison is None else entry.drawn_from(outcomes)


def together(found: list[Comparison], measure: str) -> str:
    """Return the ratios of a measure in one sentence."""
    by_kind = {comparison.kind: comparison for comparison in found if comparison.measure == measure}
    parts = []
    for kind, label in KINDS.items():
        comparison = by_kind.get(kind)
        if comparison is None:
            parts.append(f"{label}: not measured")
        else:
            shown = format_quantity(comparison.ratio.value, "times")[0]
            parts.append(f"{label}: {shown} ({comparison.against})")
    return "; ".join(parts)


def turn_table(run: RecordSet) -> Table | None:
    """Return how every turn was taken: rounds, A/A, load of others, and its marks."""
    first: dict[str, Outcome] = {}
    for outcome in run.outcomes:
        if outcome.measured.turn is not None and outcome.measured.turn.baseline is not None:
            first.setdefault(f"{outcome.file} {_turn_of(outcome.record)}", outcome)
    if not first:
        return None
    return Table.of(
        list(first.values()),
        [
            Column.text("turn", "Turn", lambda o: f"{o.pass_name} {o.cell.label}"),
            Column("rounds", "Rounds", lambda o: _turn(o).rounds),
            Column("methods", "Methods", lambda o: len(_turn(o).methods)),
            Column.text("baseline", "Baseline", lambda o: _turn(o).baseline or ""),
            Column("aa_ratio", "A/A", _aa_entry),
            Column("others_cores", "Cores used by others", _load_entry),
            Column.text(
                "marks", "Marks", lambda o: "; ".join(_turn(o).marks) or Entry.absent("none")
            ),
        ],
        sources=lambda outcome: [outcome],
        key="turns",
        title="How times were taken",
        caption=(
            "Methods of a turn run once per round, in fresh order; the baseline runs twice. A/A is "
            "its second worker over its first, of the metric that is off most. A turn with marks "
            "takes no part in headlines."
        ),
        provenance=provenance(list(first.values())),
    )


def _turn_of(record: Record) -> str:
    cell = record.cell
    return f"{cell.profile} {cell.pass_name} {cell.label} {cell.seed} {cell.turn}"


def _turn(outcome: Outcome) -> Turn:
    assert outcome.measured.turn is not None
    return outcome.measured.turn


def _aa_entry(outcome: Outcome) -> Entry:
    aa = _turn(outcome).aa
    if not aa:
        return Entry.missing("the baseline did not run twice")
    name, metric = max(aa.items(), key=lambda item: abs(item[1].value - 1))
    return Entry.estimate(median_of(metric), "times", note=name)


def _load_entry(outcome: Outcome) -> Entry:
    load = _turn(outcome).load
    if load is None:
        return Entry.absent("not sampled")
    note = f"{len(load.repeated)} rounds taken again" if load.repeated else ""
    return Entry.number(max(load.others, default=0.0), "cores", note=note)
