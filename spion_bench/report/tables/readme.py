"""The measured numbers of README.md, from committed records.

``python -m spion_bench.report.tables.readme`` writes them into the README of the checkout that it
runs in; a test compares the page with what it would write. No torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from spion_bench.records.ratios import KINDS
from spion_bench.report.entries import SUMMARY_PASSES, accuracy_entry
from spion_bench.report.evidence import evidence_of, graded
from spion_bench.report.groups import Group, groups
from spion_bench.report.load import RecordSet, load_records
from spion_bench.report.methods import ordered
from spion_bench.report.parts import Entry, Table
from spion_bench.report.tables.ratios import ratio_entry, ratios_of
from spion_bench.report.tables.summary import summary_tables
from spion_bench.report.words import join_words, plural
from spion_bench.suite.pages import Section, markdown_table

ROOT: Final = Path(__file__).resolve().parents[3]
COMMAND: Final = "python -m spion_bench.report.tables.readme"
RECORDS: Final = "results/records"

# Section of the page -> the committed records that it is made from.
SETS: Final = {
    "smoke": "amd-epyc-x2/smoke",
    "speed": "amd-epyc-avx2-x2/speed",
    "accuracy": "amd-epyc-avx2-x2/laptop",
}

_SHOWN: Final = (
    *("method", "test_accuracy_ratio", "train_step_ms", "train_step_speedup"),
    *("attention_cost_ratio", "train_step_peak_bytes", "density_ratio"),
)


def smoke_section(run: RecordSet) -> str:
    """Return, per setting, what each method reached and cost."""
    return "\n\n".join(_short(table) for table in summary_tables(run))


def speed_section(run: RecordSet) -> str:
    """Return the four ratios of every setting, for a training step and for attention alone."""
    found = {group.label: ratios_of(group) for group in groups(run, ("speed",))}
    parts = []
    for measure, title in (
        ("train_step_ms", "A training step with SPION-CF is faster by"),
        ("attention_ms", "its attention alone by"),
    ):
        rows = []
        for kind, label in KINDS.items():
            of_kind = [
                next((c for c in ratios if (c.kind, c.measure) == (kind, measure)), None)
                for ratios in found.values()
            ]
            rows.append((label, *(_shown(ratio_entry(c), noted=c is not None) for c in of_kind)))
        parts.append(markdown_table((title, *found), rows))
    return "\n\n".join(parts)


def accuracy_section(run: RecordSet) -> str:
    """Return the test accuracy of every method in every setting, and what it is worth."""
    settings = [group for group in groups(run, SUMMARY_PASSES) if _is_trained(group)]
    names = ordered(cells.info for group in settings for cells in group.methods.values())
    rows = [
        (f"`{name}`", *(_shown(_accuracy(group, name)) for group in settings)) for name in names
    ]
    header = ("Test accuracy", *(group.label for group in settings))
    worth = [
        f"{group.label}: {evidence.sentence}"
        for group in settings
        if (evidence := evidence_of(group)) is not None
    ]
    return "\n\n".join([markdown_table(header, rows), *worth])


SECTIONS: Final[dict[str, Callable[[RecordSet], str]]] = {
    "smoke": smoke_section,
    "speed": speed_section,
    "accuracy": accuracy_section,
}


def section(name: str) -> Section:
    """Return where numbers stand in the page."""
    return Section(COMMAND, name)


def text_of(name: str, root: Path = ROOT) -> str:
    """Return a section: where it was measured, and its numbers."""
    run = load_records(root / RECORDS / SETS[name])
    return f"{_measured(run, SETS[name])}\n\n{SECTIONS[name](run)}"


def write_numbers(root: Path = ROOT) -> Path:
    """Write all sections into README.md below ``root`` and return it.

    Raises:
        ValueError: If the page does not hold a section's markers once each, in order.
    """
    page = root / "README.md"
    for name in SECTIONS:
        section(name).write(page, text_of(name, root))
    return page


def _measured(run: RecordSet, place: str) -> str:
    environments = [outcome.record.environment for outcome in run.outcomes if outcome.is_ok]
    threads = sorted({environment.threads for environment in environments})
    machines = sorted({f"{e.cpu}, {e.cpu_capability}" for e in environments})
    torches = sorted({environment.torch for environment in environments})
    count = join_words([*(str(n) for n in threads[:-1]), plural(threads[-1], "thread")])
    path = f"{RECORDS}/{place}"
    return (
        f"Measured on {join_words(machines)} ({count}), torch {join_words(torches)}; records in "
        f"[{path}]({path})."
    )


def _short(table: Table) -> str:
    places = [i for i, column in enumerate(table.columns) if column.key in _SHOWN]
    header = [table.columns[i].label for i in places]
    header[0] = table.title
    rows = [
        (f"`{row[places[0]].text}`", *(_shown(row[i]) for i in places[1:])) for row in table.rows
    ]
    return markdown_table(header, rows)


def _shown(entry: Entry, *, noted: bool = False) -> str:
    note = f"({entry.note})" if noted or entry.flag in ("warning", "modelled") else ""
    text = f"*{entry.text}*" if entry.flag == "greyed" else entry.text
    return " ".join(part for part in (text, entry.interval, note) if part)


def _is_trained(group: Group) -> bool:
    return any(cells.ok("accuracy") for cells in group.methods.values())


def _accuracy(group: Group, name: str) -> Entry:
    cells = group.methods.get(name)
    if cells is None:
        return Entry.missing("no such cell")
    return graded(group, accuracy_entry(cells))


if __name__ == "__main__":
    print(f"{write_numbers()}: numbers written")
