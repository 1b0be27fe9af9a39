"""Sections a reader checks a report by: gate, turns, statuses, and where everything comes from."""

from __future__ import annotations

import shlex

from spion_bench.records import TaskCell
from spion_bench.report.catalogue.facts import record_table
from spion_bench.report.layout import Section
from spion_bench.report.load import RecordSet
from spion_bench.report.tables.energy import gpu_table
from spion_bench.report.tables.methods import method_table
from spion_bench.report.tables.origins import (
    data_table,
    deviation_table,
    environment_table,
    settings_table,
)
from spion_bench.report.tables.ratios import turn_table
from spion_bench.report.tables.status import (
    failure_table,
    gate_table,
    numbers_table,
    status_table,
)
from spion_bench.report.words import join_words, plural
from spion_bench.suite.profile import profile_names


def check_sections(run: RecordSet) -> list[Section]:
    """Return what a reader checks the numbers by."""
    failures = failure_table(run)
    ok = sum(outcome.is_ok for outcome in run.outcomes)
    paragraphs = [
        f"{plural(len(run.outcomes), 'cell')} in all: {ok} ok, {len(run.outcomes) - ok} not."
    ]
    if run.n_replaced:
        earlier = plural(run.n_replaced, "earlier outcome")
        paragraphs.append(f"{earlier} of cells that were run again: only the last one counts.")
    if run.problems:
        paragraphs.append("Damaged records and artifacts; everything else was used:")
    else:
        paragraphs.append("Every stored line and artifact could be read.")
    sections = [
        Section.of(
            "turns",
            "How times were taken",
            "In how many rounds methods took turns, what disturbed them, and how far A/A is off.",
            [turn_table(run), gpu_table(run)],
        ),
        Section.of(
            "gate",
            "Correctness gate",
            "How far each method is from a float64 oracle, and how far it may be.",
            [gate_table(run)],
            "No errors were measured: this run has no gate cell.",
        ),
        Section(
            "statuses",
            "Statuses",
            "How every planned cell ended, and why some have no number.",
            tuple(paragraphs),
            (status_table(run), failures) if failures else (status_table(run),),
            run.problems,
        ),
    ]
    return [section for section in sections if section.blocks or section.paragraphs]


def origin_sections(run: RecordSet) -> list[Section]:
    """Return where data, methods, machine and every single number come from."""
    return [
        Section.of(
            "data",
            "Data sources",
            "Which data each task ran on, and whether it is the published data.",
            [data_table(run)],
        ),
        Section.of(
            "deviations",
            "Deviations from the publication",
            "How these runs differ from the published ones.",
            [deviation_table(run)],
            "The records state none.",
        ),
        Section.of(
            "methods",
            "Methods and caveats",
            "What each method computes, with which arguments from where.",
            [method_table(run)],
        ),
        Section.of(
            "environment",
            "Environment",
            "On which machine, with which software, everything ran.",
            [environment_table(run)],
        ),
        Section(
            "reproduce",
            "How to reproduce",
            "What to type for the same cells, and every setting they ran with.",
            _reproduce_text(run),
            (settings_table(run),),
            code=_commands(run),
        ),
        Section.of(
            "every-record",
            "Every record and number",
            "Everything above by itself: each cell, and each number that it gave.",
            [record_table(run, run.outcomes), numbers_table(run)],
        ),
    ]


def _reproduce_text(run: RecordSet) -> tuple[str, ...]:
    first = min(outcome.record.started_at for outcome in run.outcomes)
    last = max(outcome.record.ended_at for outcome in run.outcomes)
    environments = [outcome.record.environment for outcome in run.outcomes]
    shas = sorted({environment.git_sha or "not recorded" for environment in environments})
    dirty = any(environment.git_dirty for environment in environments)
    return (
        f"Measured from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC with code "
        f"{join_words(shas)}"
        + (", with uncommitted changes: that commit alone is not the code." if dirty else "."),
        "The same seed on the same machine with the same number of threads gives the same losses "
        "to the last bit; times vary within their intervals.",
    )


def _commands(run: RecordSet) -> str:
    """Return what to type for the same cells, on the same commit, into a folder of one's own."""
    environments = [outcome.record.environment for outcome in run.outcomes]
    shas = sorted({environment.git_sha for environment in environments if environment.git_sha})
    lines = [f"git checkout {sha}" for sha in shas]
    if len(shas) > 1:
        lines = ["# the records are of several commits; check out the one whose cells you repeat"]
        lines += [f"# git checkout {sha}" for sha in shas]
    for name in sorted({outcome.cell.profile for outcome in run.outcomes}):
        cells = [outcome.cell for outcome in run.outcomes if outcome.cell.profile == name]
        is_own = name not in profile_names()
        options = ["--profile", shlex.quote(f"{name}.toml" if is_own else name)]
        if all(cell.device == "cuda" for cell in cells):
            options += ["--device", "cuda"]
        threads = {cell.threads for cell in cells if isinstance(cell, TaskCell)}
        if len(threads) == 1:
            options += ["--threads", str(threads.pop())]
        if is_own:
            lines.append("# this profile does not come with the suite: bring its file")
        folder = shlex.quote(f"results/local/{name}")
        lines.append(f"spion-bench run {' '.join(options)} --out {folder}")
        lines.append(f"spion-bench report {folder}")
    return "\n".join(lines)
