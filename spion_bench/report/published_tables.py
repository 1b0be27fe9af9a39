"""The section of published numbers: what others reported, beside what this run measured."""

from __future__ import annotations

from spion_bench.report.cells import Group, groups, provenance
from spion_bench.report.load import RecordSet
from spion_bench.report.published import PublishedNumber, read_published
from spion_bench.report.table import Column, Entry, Table, absent, slug, words
from spion_bench.report.tables import accuracy_entry

_CLAIMS_FILE = "spion_abstracts.csv"


def published_tables(run: RecordSet) -> list[Table]:
    """Return the claims about SPION, and per task of the run its published accuracies."""
    numbers = read_published()
    by_task: dict[str, list[Group]] = {}
    for group in groups(run, ("accuracy",)):
        for name in sorted({outcome.task.name for outcome in group.outcomes if outcome.task}):
            by_task.setdefault(name, []).append(group)
    claims = [n for n in numbers if n.file == _CLAIMS_FILE]
    return [
        _claim_table(claims),
        *(_task_table(task, found, numbers) for task, found in by_task.items()),
    ]


def _claim_table(claims: list[PublishedNumber]) -> Table:
    return Table(
        key="published-claims",
        title="What the publications about SPION claim",
        caption="Published on GPUs. A run on a CPU neither confirms nor refutes these times.",
        columns=(
            Column("source", "Source", numeric=False),
            Column("task", "Task", numeric=False),
            Column("metric", "Claim", numeric=False),
            Column("value", "Value"),
            Column("note", "Words", numeric=False),
        ),
        rows=tuple(
            (
                words(claim.source),
                words(claim.task or "not stated"),
                words(claim.metric),
                _value(claim),
                words(claim.note),
            )
            for claim in claims
        ),
        provenance=f"From results/published/{_CLAIMS_FILE}.",
        collapsed=True,
    )


def _task_table(task: str, measured: list[Group], numbers: list[PublishedNumber]) -> Table:
    published = [n for n in numbers if n.task == task and n.metric == "accuracy"]
    outcomes = [outcome for group in measured for outcome in group.outcomes]
    stand_in = any(outcome.task.stand_in for outcome in outcomes if outcome.task)
    warning = "This run used a stand-in: its rows say nothing about the published ones. "
    ours = [
        (
            words(name),
            accuracy_entry(cells),
            words("measured here"),
            words(group.label),
            words(_data_of(group)),
        )
        for group in measured
        for name, cells in group.methods.items()
    ]
    theirs = [
        (
            words(number.model),
            _value(number),
            words("published"),
            words(f"{number.source}, {number.table}"),
            words(number.note),
        )
        for number in published
    ]
    return Table(
        key=slug("published", task),
        title=f"{task}: published accuracies",
        caption=(
            f"{warning if stand_in else ''}Published numbers as printed, from other models, "
            "budgets, data preparations and code; they are not reproduced here."
        ),
        columns=(
            Column("model", "Model", numeric=False),
            Column("accuracy_ratio", "Test accuracy"),
            Column("kind", "Kind", numeric=False),
            Column("source", "Source", numeric=False),
            Column("note", "Note", numeric=False),
        ),
        rows=(*ours, *theirs),
        provenance=(
            f"{provenance(outcomes)} Published: "
            f"{', '.join(dict.fromkeys(f'results/published/{n.file}' for n in published))}."
        ),
        collapsed=True,
    )


def _data_of(group: Group) -> str:
    tasks = [outcome.task for outcome in group.outcomes if outcome.task]
    if not tasks:
        return ""
    return f"{tasks[0].source}{' (stand-in)' if tasks[0].stand_in else ''}"


def _value(number: PublishedNumber) -> Entry:
    """Return a published value as it was printed; the CSV file holds percentages as ratios."""
    if number.number is None:
        return absent(number.note)
    if number.unit == "%":
        return Entry(f"{number.value}\u202f%", value=round(number.number / 100, 6))
    return Entry(f"{number.value} {number.unit}".rstrip(), value=number.number)
