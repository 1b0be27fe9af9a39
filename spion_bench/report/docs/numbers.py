"""The measured numbers of README.md and of pages in docs, from committed records.

``python -m spion_bench.report.docs.numbers`` writes them into the pages of the checkout that it
runs in; a test compares the pages with what it would write. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from spion_bench.records.files import replace_file
from spion_bench.records.ratios import KINDS
from spion_bench.report.claims.table import judgements
from spion_bench.report.docs.break_even import break_even_section
from spion_bench.report.docs.commits import commits_picture
from spion_bench.report.docs.front import THEMES, first_sentence, front_section, steps_picture
from spion_bench.report.docs.markdown import short_table, shown
from spion_bench.report.entries import SUMMARY_PASSES, accuracy_entry
from spion_bench.report.evidence.of_group import evidence_of, graded
from spion_bench.report.figures.growth import lengths_of, slope_table
from spion_bench.report.groups import Group, groups
from spion_bench.report.load import RecordSet, load_records
from spion_bench.report.methods import ordered
from spion_bench.report.parts import Entry
from spion_bench.report.tables.evidence import worth_tables
from spion_bench.report.tables.ratios import ratio_entry, ratios_of
from spion_bench.report.tables.summary import summary_tables
from spion_bench.report.words import join_words, plural
from spion_bench.suite.pages import Section, markdown_table

ROOT: Final = Path(__file__).resolve().parents[3]
COMMAND: Final = "python -m spion_bench.report.docs.numbers"
RECORDS: Final = "results/records"
COMMITS: Final = "results/asv/intel-r-xeon-r-processor-2-50ghz-x2"

# Section of a page -> the committed records that it is made from.
SETS: Final = {
    "first": ("amd-epyc-avx2-x2/ratios", "intel-xeon-avx512-x2/study"),
    "front": ("amd-epyc-avx2-x2/ratios",),
    "smoke": ("amd-epyc-x2/smoke",),
    "speed": ("amd-epyc-avx2-x2/ratios",),
    "accuracy": ("amd-epyc-avx2-x2/laptop",),
    "growth": ("amd-epyc-avx2-x2/scaling",),
    "worth": ("intel-xeon-avx512-x2/study",),
    "study": ("intel-xeon-avx512-x2/study",),
    "claims": (
        *(f"amd-epyc-avx2-x2/{name}" for name in ("speed", "scaling", "laptop", "matrix")),
        "intel-xeon-avx512-x2/study",
    ),
    "break_even": tuple(f"amd-epyc-avx2-x2/{name}" for name in ("kernels", "scaling", "speed")),
}

_SHOWN: Final = (
    *("method", "test_accuracy_ratio", "train_step_ms", "train_step_speedup"),
    *("attention_cost_ratio", "train_step_peak_bytes", "density_ratio"),
)


def smoke_section(run: RecordSet) -> str:
    """Return, per setting, what each method reached and cost."""
    return "\n\n".join(short_table(table, _SHOWN) for table in summary_tables(run))


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
            rows.append((label, *(shown(ratio_entry(c), noted=c is not None) for c in of_kind)))
        parts.append(markdown_table((title, *found), rows))
    return "\n\n".join(parts)


def accuracy_section(run: RecordSet) -> str:
    """Return the test accuracy of every method in every setting, and what it is worth."""
    settings = [group for group in groups(run, SUMMARY_PASSES) if _is_trained(group)]
    names = ordered(cells.info for group in settings for cells in group.methods.values())
    rows = [(f"`{name}`", *(shown(_accuracy(group, name)) for group in settings)) for name in names]
    header = ("Test accuracy", *(group.label for group in settings))
    worth = [
        f"{group.label}: {evidence.sentence}"
        for group in settings
        if (evidence := evidence_of(group)) is not None
    ]
    return "\n\n".join([markdown_table(header, rows), *worth])


def worth_section(*runs: RecordSet) -> str:
    """Return, per setting, the learned pattern beside what continues the same dense prefixes."""
    columns = ("method", "what", "test_accuracy_ratio", "lead_ratio", "attention_kept_ratio")
    tables = [table for run in runs for table in worth_tables(run)]
    controls = [text for run in runs for text in map(_controls, groups(run, ("accuracy",))) if text]
    parts = [f"{short_table(table, columns)}\n\n{table.caption}" for table in tables]
    return "\n\n".join([*parts, *controls]) or "Not measured."


def _controls(group: Group) -> str:
    """Say what a group's controls reach; nothing where there are none."""
    found = [
        f"`{name}` {shown(_accuracy(group, name))}"
        for name, cells in group.methods.items()
        if cells.info.role == "control" and cells.ok("accuracy")
    ]
    evidence = evidence_of(group)
    if not found or evidence is None:
        return ""
    return f"Controls on {group.label}: {join_words(found)}. {evidence.sentence}"


def growth_section(run: RecordSet) -> str:
    """Return how times and memory grow with the length."""
    return "\n\n".join(short_table(slope_table(lengths)) for lengths in lengths_of(run))


def claims_section(*runs: RecordSet) -> str:
    """Return the verdict of every claim, with the number that decided and the reason."""
    rows = [
        (
            f"{j.title} ({j.claim.source})",
            f"**{j.verdict}**",
            j.reason,
        )
        for j in judgements(runs)
        if j.verdict != "not comparable"
    ]
    return markdown_table(("Claim", "Verdict", "Why"), rows)


PAGES: Final[dict[str, dict[str, Callable[..., str]]]] = {
    "README.md": {"first": first_sentence, "front": front_section, "worth": worth_section},
    "docs/findings.md": {
        "claims": claims_section,
        "speed": speed_section,
        "growth": growth_section,
        "smoke": smoke_section,
        "worth": worth_section,
        "study": accuracy_section,
        "accuracy": accuracy_section,
    },
    "docs/own_model.md": {"break_even": break_even_section},
}
"""Page -> its sections -> what makes each of them from its records."""


def section(name: str) -> Section:
    """Return where numbers stand in their page."""
    return Section(COMMAND, name)


def text_of(page: str, name: str, root: Path = ROOT) -> str:
    """Return a section: its numbers, and where they were measured unless it is one sentence."""
    runs = [_records(root / RECORDS / place) for place in SETS[name]]
    text = PAGES[page][name](*runs)
    return text if name == "first" else f"{text}\n\n{_measured(runs, SETS[name])}"


def pictures(root: Path = ROOT) -> dict[str, str]:
    """Return README's picture in every theme and that of asv's commits, by file below ``root``."""
    (place,) = SETS["front"]
    run = _records(root / RECORDS / place)
    stamp = f"<!-- Written by `{COMMAND}` from {RECORDS}/{place}. -->"
    steps = {
        f"docs/pictures/steps-{theme}.svg": f"{stamp}\n{steps_picture(run, theme)}\n"
        for theme in THEMES
    }
    drawn = commits_picture(root / COMMITS, f"Written by `{COMMAND}` from {COMMITS}.")
    return {**steps, "docs/pictures/commits.svg": drawn}


def write_numbers(root: Path = ROOT) -> list[Path]:
    """Write all sections into their pages below ``root``, and the pictures; return the files.

    Raises:
        ValueError: If a page does not hold a section's markers once each, in order.
    """
    for page, sections in PAGES.items():
        for name in sections:
            section(name).write(root / page, text_of(page, name, root))
    drawn = pictures(root)
    for path, svg in drawn.items():
        replace_file(root / path, svg.encode("utf-8"))
    return [root / path for path in (*PAGES, *drawn)]


_records = cache(load_records)


def _measured(runs: Sequence[RecordSet], places: Sequence[str]) -> str:
    outcomes = [outcome for run in runs for outcome in run.outcomes if outcome.is_ok]
    environments = [outcome.record.environment for outcome in outcomes]
    threads = sorted({environment.threads for environment in environments})
    machines = sorted({f"{e.cpu}, {e.cpu_capability}" for e in environments})
    torches = sorted({environment.torch for environment in environments})
    count = join_words([*(str(n) for n in threads[:-1]), plural(threads[-1], "thread")])
    folders = join_words([f"`{RECORDS}/{place}`" for place in places])
    return (
        f"Measured on {join_words(machines)} ({count}), torch {join_words(torches)}; records in "
        f"{folders}."
    )


def _is_trained(group: Group) -> bool:
    return any(cells.ok("accuracy") for cells in group.methods.values())


def _accuracy(group: Group, name: str) -> Entry:
    cells = group.methods.get(name)
    if cells is None:
        return Entry.missing("no such cell")
    return graded(group, accuracy_entry(cells))


if __name__ == "__main__":
    print("\n".join(f"{path}: written" for path in write_numbers()))
