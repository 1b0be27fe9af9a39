"""Ablations: what one setting changes, paired by seed with the runs that have its usual value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from spion_bench.records import TaskCell
from spion_bench.records.cell import Factor
from spion_bench.records.statistics import Estimate, mean_over_seeds
from spion_bench.report.evidence.of_group import may_compare
from spion_bench.report.groups import Group, accuracies, groups, is_level, is_what_it_says
from spion_bench.report.load import Outcome, RecordSet, provenance
from spion_bench.report.methods import CHAMPION
from spion_bench.report.parts import Column, Entry, Table, slug

NOT_COMPARED = (
    "This group does not measure attention (see its controls), so nothing follows from differences."
)


@dataclass(frozen=True)
class Level:
    """A value of a factor, and the runs that have it.

    Attributes:
        value: The value.
        outcomes: The runs, one per seed; those that are "not SPION" are left out.
        is_base: Whether the other levels are compared with it.
    """

    value: str | float
    outcomes: tuple[Outcome, ...]
    is_base: bool = False


@dataclass(frozen=True)
class Ablation:
    """One factor in one group: its levels in order, the base among them."""

    group: Group
    factor: Factor
    levels: tuple[Level, ...]

    @property
    def base(self) -> Level | None:
        """The level that the others are compared with."""
        return next((level for level in self.levels if level.is_base), None)

    def difference(self, outcomes: Iterable[Outcome]) -> Estimate | None:
        """Return how much better runs are than the base, paired by seed; None if none has one."""
        base = accuracies(self.base.outcomes) if self.base else {}
        own = accuracies(outcomes)
        shared = sorted(base.keys() & own.keys())
        return mean_over_seeds([own[s] - base[s] for s in shared]) if shared else None

    @property
    def name(self) -> str:
        """What the factor is called."""
        return self.factor.partition(".")[2].replace("_", " ")


def ablations(run: RecordSet) -> list[Ablation]:
    """Return every factor of every group that has levels, in the order of the cells."""
    found = []
    for group in groups(run, ("accuracy",)):
        mine = [o for o in run.outcomes if is_level(o) and o.setting == group.setting]
        for factor in dict.fromkeys(_factor(outcome) for outcome in mine):
            assert factor is not None
            varied = [o for o in mine if _factor(o) == factor]
            found.append(Ablation(group, factor, _levels(group, factor, varied, mine)))
    return found


def ablation_tables(run: RecordSet) -> list[Table]:
    """Return, per setting, every level of every factor and what it changes."""
    by_group: dict[str, list[Ablation]] = {}
    for each in ablations(run):
        by_group.setdefault(each.group.label, []).append(each)
    return [_table(label, found) for label, found in by_group.items()]


def _table(label: str, found: list[Ablation]) -> Table:
    rows = [(each, level) for each in found for level in each.levels]
    compares = may_compare(found[0].group)
    outcomes = [outcome for _, level in rows for outcome in level.outcomes]
    return Table.of(
        rows,
        [
            Column.text("factor", "Factor", lambda row: row[0].name),
            Column.text("level", "Level", lambda row: f"{row[1].value}"),
            Column("seeds", "Seeds", lambda row: len(row[1].outcomes)),
            Column("test_accuracy_ratio", "Test accuracy", lambda row: _accuracy(row[1])),
            Column("difference_ratio", "Against the base", lambda row: _difference(*row)),
        ],
        key=slug("ablation", label),
        title=f"{label}: one factor at a time",
        caption=(
            f"Levels of {CHAMPION}; the base is its group's own setting. Differences of test "
            "accuracy are paired by seed. Runs that are not SPION are left out."
            + ("" if compares else f" {NOT_COMPARED}")
        ),
        provenance=provenance(outcomes),
    )


def _accuracy(level: Level) -> Entry:
    found = list(accuracies(level.outcomes).values())
    return Entry.estimate(mean_over_seeds(found), "ratio") if found else Entry.missing("no run")


def _difference(ablation: Ablation, level: Level) -> Entry:
    if level.is_base:
        return Entry.absent("the base", "base")
    found = ablation.difference(level.outcomes)
    if found is None:
        return Entry.missing("no base of the same seeds")
    return Entry.estimate(found, "ratio")


def _levels(
    group: Group, factor: Factor, varied: list[Outcome], others: list[Outcome]
) -> tuple[Level, ...]:
    """Return the levels of a factor, smallest first, with the runs that have its usual value."""
    method = varied[0].method.name if factor != "method.variant" else CHAMPION
    usual = [o for name, c in group.methods.items() if name == method for o in c.of("accuracy")]
    if not usual:  # a method that is itself a level, such as the variant with a density
        usual = [o for o in others if o.method.name == method and _factor(o) == "method.variant"]
    by_value: dict[str | float, list[Outcome]] = {}
    for outcome in [*usual, *varied]:
        assert isinstance(outcome.cell, TaskCell)
        if outcome.is_ok and is_what_it_says(outcome) and outcome.cell.settings is not None:
            by_value.setdefault(outcome.cell.level(factor), []).append(outcome)
    levels = [
        Level(value, tuple(found), any(outcome in usual for outcome in found))
        for value, found in by_value.items()
    ]
    return tuple(sorted(levels, key=lambda level: (isinstance(level.value, str), level.value)))


def _factor(outcome: Outcome) -> Factor | None:
    return outcome.cell.factor if isinstance(outcome.cell, TaskCell) else None
