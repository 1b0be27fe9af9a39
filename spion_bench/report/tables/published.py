"""The section of published numbers: what others reported, next to what this run measured."""

from __future__ import annotations

from dataclasses import dataclass

from spion_bench.report.entries import accuracy_entry, metric_entry
from spion_bench.report.evidence.of_group import graded
from spion_bench.report.groups import Group, groups
from spion_bench.report.load import Outcome, RecordSet, provenance
from spion_bench.report.parts import Column, Content, Entry, Table, slug
from spion_bench.report.published import PublishedNumber, read_published

_CLAIMS_FILE = "spion_abstracts.csv"
_SHORTCUT = "no attention, measured here"


def published_tables(run: RecordSet) -> list[Table]:
    """Return the claims about SPION, and per task of the run its published accuracies."""
    numbers = read_published()
    by_task: dict[str, list[Group]] = {}
    for group in groups(run, ("accuracy",)):
        for name in sorted({outcome.task.name for outcome in group.outcomes if outcome.task}):
            by_task.setdefault(name, []).append(group)
    shortcuts: dict[str, list[Outcome]] = {}
    for outcome in run.ok("shortcuts"):
        if outcome.task is not None:
            shortcuts.setdefault(outcome.task.name, []).append(outcome)
    claims = [n for n in numbers if n.file == _CLAIMS_FILE]
    return [
        _claim_table(claims),
        *(
            _task_table(run, task, by_task.get(task, []), shortcuts.get(task, []), numbers)
            for task in dict.fromkeys([*by_task, *shortcuts])
        ),
    ]


def _claim_table(claims: list[PublishedNumber]) -> Table:
    return Table.of(
        claims,
        [
            Column.text("source", "Source", lambda claim: claim.source),
            Column.text("task", "Task", lambda claim: claim.task or "not stated"),
            Column.text("metric", "Claim", lambda claim: claim.metric),
            Column("value", "Value", _value),
            Column.text("note", "Wording", lambda claim: claim.note),
        ],
        key="published-claims",
        title="What the publications about SPION claim",
        caption="Published on GPUs. A run on a CPU neither confirms nor refutes these times.",
        provenance=f"From results/published/{_CLAIMS_FILE}.",
        collapsed=True,
    )


@dataclass(frozen=True)
class _Row:
    model: str
    accuracy: Content
    kind: str
    source: str
    note: str


def _task_table(
    run: RecordSet,
    task: str,
    measured: list[Group],
    shortcuts: list[Outcome],
    numbers: list[PublishedNumber],
) -> Table:
    published = [n for n in numbers if n.task == task and n.metric == "accuracy"]
    outcomes = [*(o for group in measured for o in group.outcomes), *shortcuts]
    stand_in = any(outcome.task.stand_in for outcome in outcomes if outcome.task)
    warning = "This run used a stand-in: its rows say nothing about the published ones. "
    ours = [
        _Row(
            name,
            graded(group, accuracy_entry(cells)),
            "measured here",
            group.label,
            _data_of(group),
        )
        for group in measured
        for name, cells in group.methods.items()
    ]
    without = [
        _Row(
            outcome.method.name,
            metric_entry(outcome.measured.metrics["test_accuracy"], "ratio"),
            _SHORTCUT,
            run.label_of(outcome),
            f"{outcome.method.summary}; {_source_of(outcome)}",
        )
        for outcome in shortcuts
        if "test_accuracy" in outcome.measured.metrics
    ]
    theirs = [
        _Row(n.model, _value(n), "published", f"{n.source}, {n.table}", n.note) for n in published
    ]
    return Table.of(
        [*ours, *without, *theirs],
        [
            Column.text("model", "Model", lambda row: row.model),
            Column("accuracy_ratio", "Test accuracy", lambda row: row.accuracy),
            Column.text("kind", "Kind", lambda row: row.kind),
            Column.text("source", "Source", lambda row: row.source),
            Column.text("note", "Note", lambda row: row.note),
        ],
        key=slug("published", task),
        title=f"{task}: published accuracies",
        caption=(
            f"{warning if stand_in else ''}Published numbers as printed, from other models, "
            "budgets, data preparations and code; they are not reproduced here. A published "
            "accuracy that a shortcut reaches on the same kind of data needs no attention."
        ),
        provenance=(
            f"{provenance(outcomes)} Published: "
            f"{', '.join(dict.fromkeys(f'results/published/{n.file}' for n in published))}."
        ),
        collapsed=True,
    )


def _data_of(group: Group) -> str:
    return next((_source_of(outcome) for outcome in group.outcomes if outcome.task), "")


def _source_of(outcome: Outcome) -> str:
    task = outcome.task
    return "" if task is None else f"{task.source}{' (stand-in)' if task.stand_in else ''}"


def _value(number: PublishedNumber) -> Entry:
    """Return a published value as it was printed; the CSV file holds percentages as ratios."""
    if number.number is None:
        return Entry.absent(number.note)
    if number.unit == "%":
        return Entry(f"{number.value}\u202f%", value=round(number.number / 100, 6))
    return Entry(f"{number.value} {number.unit}".rstrip(), value=number.number)
