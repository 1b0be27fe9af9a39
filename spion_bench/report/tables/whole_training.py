"""How long a whole training takes, method by method, from the times of quiet steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from spion_bench.records.ratios import REFERENCE, speed_turns, whole_training
from spion_bench.records.statistics import Estimate, median_of
from spion_bench.report.groups import Group, groups
from spion_bench.report.load import Outcome, RecordSet, Setting


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
    for other in groups(run, ("speed",)):
        if _where(other.setting) != _where(group.setting):
            continue
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


def _where(setting: Setting) -> Setting:
    """Return what two settings must share for the times of one to hold in the other."""
    return replace(setting, threads=0, ways=(), profile="", version="", file="")
