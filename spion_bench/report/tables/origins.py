"""The tables of where a run comes from: data, deviations, settings, environment."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd
from pydantic import BaseModel

from spion_bench.records import Environment, KernelCell, TaskInfo
from spion_bench.records.cell import Scalar
from spion_bench.report.load import Outcome, RecordSet, provenance
from spion_bench.report.methods import ordered
from spion_bench.report.parts import Column, Entry, Table, rows_of_frame
from spion_bench.report.words import format_quantity, plural

_SHORT_HASH = 12
_MOST_VALUES = 3

# Fields of an environment that vary between cells on one machine.
_VARYING = ("load_average", "gpu_sm_clock_mhz")

# Fields of an environment that are shown only where they say something.
_EXCEPTIONAL = ("git_untracked", "git_problem")

_ENVIRONMENT_LABELS = {
    "machine": "Machine",
    "cpu": "CPU",
    "cores": "Cores",
    "threads": "Threads used",
    "omp_wait_policy": "Waiting threads (OMP_WAIT_POLICY)",
    "memory_bytes": "Memory",
    "cpu_capability": "Vector instructions (torch)",
    "kernel_path": "Kernel path",
    "gpu": "GPU",
    "gpu_driver": "GPU driver",
    "gpu_sm_clock_mhz": "GPU SM clock (MHz)",
    "load_average": "Load average (1 min)",
    "os": "Operating system",
    "python": "Python",
    "torch": "PyTorch",
    "compiler": "Compiler",
    "compiler_flags": "Compiler flags",
    "git_sha": "Code (git)",
    "git_dirty": "Uncommitted changes",
    "git_untracked": "Untracked sources",
    "git_problem": "Commit unknown because",
}


def data_table(run: RecordSet) -> Table:
    """Return where each task's data came from; stand-ins are marked."""
    outcomes = [outcome for outcome in run.outcomes if outcome.measured.task is not None]
    tasks = pd.DataFrame(
        [outcome.measured.task.model_dump() for outcome in outcomes if outcome.measured.task],
        columns=list(TaskInfo.model_fields),
    )
    return Table.of(
        tasks.drop_duplicates().itertuples(),
        [
            Column.text(
                "task",
                "Task",
                lambda task: Entry.of_text(task.name, note=f"version {task.version}"),
            ),
            Column("length", "Length (tokens)", lambda task: Entry.number(task.length, "count")),
            Column.text(
                "source",
                "Source",
                lambda task: Entry.of_text(task.source, note=task.source_version),
            ),
            Column.text("kind", "Kind", _kind),
            Column("classes", "Classes", lambda task: Entry.number(task.n_classes, "count")),
            Column.text(
                "sizes",
                "Train / dev / test",
                lambda task: f"{task.n_train} / {task.n_dev} / {task.n_test}",
            ),
            Column(
                "majority_share",
                "Largest class",
                lambda task: Entry.number(task.majority_share, "ratio"),
            ),
            Column.text(
                "fingerprint",
                "SHA-256",
                lambda task: Entry(f"{task.fingerprint[:_SHORT_HASH]}…", value=task.fingerprint),
            ),
        ],
        key="data",
        title="By task and length",
        caption="A stand-in is real data from a different source than the task's published data.",
        provenance=provenance(outcomes),
    )


def _kind(task: Any) -> Entry:
    if task.stand_in:
        return Entry.of_text("stand-in", note=task.description, flag="warning")
    return Entry.of_text("task's own", note=task.description)


def settings_table(run: RecordSet) -> Table:
    """Return the settings of every pass; values that differ between cells are all shown."""
    rows = [
        (outcome.pass_name, run.label_of(outcome), name, value)
        for outcome in run.outcomes
        for name, value in settings_of(outcome)
    ]
    frame = pd.DataFrame(rows, columns=["pass", "setting", "name", "value"], dtype=object)
    values = frame.groupby(["pass", "setting", "name"], sort=False)["value"].agg(_several)
    return Table.of(
        rows_of_frame(values.reset_index()),
        [
            Column.text("pass", "Pass", lambda row: row["pass"]),
            Column.text("setting", "Setting", lambda row: row["setting"]),
            Column.text("name", "Name", lambda row: row["name"]),
            Column.text("value", "Value", lambda row: row["value"]),
        ],
        key="settings",
        title="Settings",
        caption="Everything the cells were asked to do, as recorded, and how they were measured.",
        provenance=provenance(run.outcomes),
        collapsed=True,
    )


def settings_of(outcome: Outcome) -> Iterator[tuple[str, Scalar]]:
    """Return every setting of a cell by its path, and what else its record says of the run."""
    cell, measured = outcome.cell, outcome.measured
    if isinstance(cell, KernelCell):
        yield from _flat("", cell.shape)
        names = ["pattern", "measures", "sweeps", "tasks", "precision", "tf32", "measure"]
    else:
        names = ["batch_size"]
        yield from _flat("", cell.settings)
    for name in (*names, "threads", "code"):
        yield from _flat(name, getattr(cell, name))
    yield from _flat("timeout_s", cell.timeout_s or None)  # schema 1 did not keep it
    for name in (
        "gate_length",
        "tested",
        "turn",
        "gpu",
        "cuda_timing",
        "memory_method",
        "energy_method",
    ):
        yield from _flat(name, getattr(measured, name))
    yield "isolation", measured.isolation
    yield "busy_s", measured.busy_s
    yield from measured.extra.items()


def _flat(name: str, value: Any) -> Iterator[tuple[str, Scalar]]:
    """Return the leaves of a value by their path; what is not set is not shown."""
    if isinstance(value, BaseModel):
        value = dict(value)
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flat(f"{name}.{key}" if name else key, part)
    elif isinstance(value, list | tuple):
        yield from _flat(name, ", ".join(map(str, value)))
    elif value is not None and value != "":
        yield name, value


def _several(found: pd.Series[Any]) -> str:
    """Show a few values one by one, many numbers as a range."""
    values = list(found.drop_duplicates())
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(values) > _MOST_VALUES and len(numbers) == len(values):
        return f"{min(numbers):g} to {max(numbers):g} ({len(values)} values)"
    return " / ".join(str(value) for value in values)


def environment_table(run: RecordSet) -> Table:
    """Return the machine and software, one column per distinct environment."""
    environments = [outcome.record.environment for outcome in run.outcomes]
    same = pd.Series(environments).groupby(
        [environment.model_dump_json(exclude=set(_VARYING)) for environment in environments],
        sort=False,
    )
    return Table.of(
        [
            item
            for item in _ENVIRONMENT_LABELS.items()
            if item[0] not in _EXCEPTIONAL or any(getattr(e, item[0]) for e in environments)
        ],
        [
            Column.text("property", "Property", lambda item: item[1]),
            *(
                Column.text(
                    f"environment_{place}",
                    plural(len(alike), "record"),
                    partial(_environment_entry, same=list(alike)),
                )
                for place, (_, alike) in enumerate(same, start=1)
            ),
        ],
        key="environment",
        title="Machine and software",
        caption="Ranges where a value varied between cells.",
        provenance=provenance(run.outcomes),
    )


def _environment_entry(item: tuple[str, str], same: list[Environment]) -> Entry:
    name, _label = item
    values = [getattr(environment, name) for environment in same]
    known = [value for value in values if value is not None]
    if not known:
        no_gpu = name.startswith("gpu") and same[0].gpu is None
        return Entry.absent("no GPU" if no_gpu else "not recorded")
    if name in _VARYING:
        low, high = min(known), max(known)
        return Entry.of_text(f"{low:g}" if low == high else f"{low:g} to {high:g}")
    first = known[0]
    if isinstance(first, list):
        return Entry.of_text(" ".join(first)) if first else Entry.absent("none")
    if isinstance(first, bool):
        flagged = name == "git_dirty" and first
        return Entry.of_text("yes" if first else "no", flag="warning" if flagged else "")
    return Entry.of_text(
        format_quantity(first, "bytes")[0] if name == "memory_bytes" else str(first)
    )


def deviation_table(run: RecordSet) -> Table | None:
    """Return each stated deviation from the publication and where it applies, or None."""
    found: dict[str, list[Outcome]] = {}
    for outcome in run.outcomes:
        for sentence in outcome.measured.deviations:
            found.setdefault(sentence, []).append(outcome)
    if not found:
        return None
    return Table.of(
        found.items(),
        [
            Column.text("deviation", "Deviation", lambda item: item[0]),
            Column.text(
                "settings",
                "Where",
                lambda item: "; ".join(dict.fromkeys(map(run.label_of, item[1]))),
            ),
            Column.text(
                "methods", "Methods", lambda item: ", ".join(ordered(o.method for o in item[1]))
            ),
            Column("records", "Records", lambda item: Entry.number(len(item[1]), "count")),
        ],
        key="deviations",
        title="Stated deviations",
        caption="How these runs differ from the published ones, as the records state.",
        provenance=provenance(o for o in run.outcomes if o.measured.deviations),
    )
