"""How long a whole training takes, and how long to an accuracy, from the times of quiet steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from spion_bench.records.ratios import REFERENCE, speed_turns, whole_training
from spion_bench.records.statistics import Estimate, median_of
from spion_bench.report.course.of_group import Course, courses_of
from spion_bench.report.course.times import SHARES
from spion_bench.report.groups import Group, MethodCells, groups, timed_groups
from spion_bench.report.load import Outcome, RecordSet, provenance
from spion_bench.report.parts import Column, Entry, Table, slug
from spion_bench.report.words import plural


@dataclass(frozen=True)
class TrainingTime:
    """The seconds of a whole training.

    Attributes:
        seconds: The median over rounds with its interval.
        marks: Why it takes no part in a headline; empty if it may.
        threads: With how many threads its steps were timed.
        outcome: The cell that timed them.
    """

    seconds: Estimate
    marks: tuple[str, ...]
    threads: int
    outcome: Outcome


@lru_cache(maxsize=1024)  # bootstraps, asked for by every part of a report
def training_times(run: RecordSet, group: Group) -> dict[str, TrainingTime]:
    """Return how long each method of a group takes to train, where its steps were timed.

    Steps may have been timed with other threads than the group's, or by another profile.
    """
    champion = group.champion
    if champion is None:
        return {}
    accuracy = {
        name: [outcome.record for outcome in cells.proven()]
        for name, cells in group.methods.items()
    }
    for other in timed_groups(run, group):
        cells = {outcome.record.key: outcome for outcome in other.outcomes}
        for turn in speed_turns(outcome.record for outcome in other.outcomes):
            by_name = {record.cell.method.name: record for record in turn}
            found = {}
            for name, record in by_name.items():
                has_patterns = record.cell.method.variant is not None
                runs = accuracy.get(name if has_patterns else champion.method, [])
                metric = whole_training(record, by_name.get(REFERENCE), runs)
                if metric is not None:
                    marks = tuple(record.measurement.turn.marks) if record.measurement.turn else ()
                    time = median_of(metric)
                    found[name] = TrainingTime(time, marks, record.cell.threads, cells[record.key])
            if found:
                return found
    return {}


def reach_tables(run: RecordSet) -> list[Table]:
    """Return, per setting with timed steps, how long each method takes to dense's accuracy."""
    tables = []
    for group in groups(run, ("accuracy",)):
        courses = courses_of(run, group)
        if any(course.is_timed for course in courses.values()):
            tables.append(_reach_table(group, courses))
    return tables


def _reach_table(group: Group, courses: dict[str, Course]) -> Table:
    rows = [cells for name, cells in group.methods.items() if name in courses]
    timed = next(course for course in courses.values() if course.is_timed)

    def column(place: int) -> Column[MethodCells]:
        share = f"{SHARES[place]:.0%}"
        return Column(
            f"to_{share.removesuffix('%')}_percent_s",
            f"To {share} of dense's",
            lambda cells: _reached(courses[cells.method], place),
        )

    return Table.of(
        rows,
        [
            Column.text("method", "Method", lambda cells: cells.method),
            Column("seeds", "Seeds", lambda cells: len(courses[cells.method].runs)),
            *(column(place) for place in range(len(SHARES))),
            Column("speedup", "Whole training", lambda cells: _speedup(courses[cells.method])),
        ],
        sources=lambda cells: cells.ok("accuracy"),
        key=slug("reach", group.label),
        title=f"{group.label}: time to an accuracy",
        caption=(
            "Computed training time until dev accuracy is a share of what dense attention ends "
            f"with, mean over seeds with its 95 % t interval, from {timed.basis}. Whole training: "
            "how many times faster than dense attention's, whatever it reaches."
        ),
        provenance=provenance(outcome for cells in rows for outcome in cells.ok("accuracy")),
    )


def _reached(course: Course, place: int) -> Entry:
    if not course.reaches:
        return Entry.missing(course.basis.removeprefix("not measured: "))
    reach = course.reaches[place]
    if reach.seconds is None:
        seeds = plural(reach.n_seeds, "seed")
        return Entry.of_text("not reached", note=f"by {reach.n_reached} of {seeds}")
    return Entry.estimate(reach.seconds.within(0.0), "s")


def _speedup(course: Course) -> Entry:
    if course.speedup is None:
        gap = course.basis.removeprefix("not measured: ")
        return Entry.absent("the baseline", "baseline") if course.is_timed else Entry.missing(gap)
    return Entry.estimate(course.speedup.within(0.0), "times")
