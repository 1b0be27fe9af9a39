"""The tables that say where a run comes from: data, methods, settings, environment."""

from __future__ import annotations

from spion_bench.records import Environment, MethodInfo, TaskInfo
from spion_bench.report.cells import method_rank, provenance
from spion_bench.report.load import Outcome, RecordSet, setting_of
from spion_bench.report.quantities import format_quantity, plural
from spion_bench.report.table import Column, Entry, Table, absent, number, words

_Setting = str | int | float | bool | None

_SHORT_HASH = 12
_MOST_VALUES = 3

# Fields of an environment that move between two cells of one machine.
_VARYING = ("load_average", "gpu_sm_clock_mhz")

_ENVIRONMENT_LABELS = {
    "machine": "Machine",
    "cpu": "CPU",
    "cores": "Cores",
    "threads": "Threads used",
    "memory_bytes": "Memory",
    "cpu_capability": "Vector instructions (torch)",
    "kernel_path": "Kernel path",
    "gpu": "GPU",
    "gpu_driver": "GPU driver",
    "gpu_sm_clock_mhz": "GPU SM clock (MHz)",
    "gpu_throttle_reasons": "GPU throttling",
    "load_average": "Load average (1 min)",
    "os": "Operating system",
    "python": "Python",
    "torch": "PyTorch",
    "compiler": "Compiler",
    "compiler_flags": "Compiler flags",
    "git_sha": "Code (git)",
    "git_dirty": "Uncommitted changes",
}


def data_table(run: RecordSet) -> Table:
    """Return where each task's data came from; a stand-in is called a stand-in."""
    tasks = {
        outcome.record.task.model_dump_json(): outcome.record.task
        for outcome in run.outcomes
        if outcome.record.task is not None
    }
    return Table(
        key="data",
        title="By task and length",
        caption="A stand-in is real data of another origin than the task's published data.",
        columns=(
            Column("task", "Task", numeric=False),
            Column("length", "Length (tokens)"),
            Column("source", "Source", numeric=False),
            Column("kind", "Kind", numeric=False),
            Column("classes", "Classes"),
            Column("sizes", "Train / dev / test", numeric=False),
            Column("majority_share", "Largest class"),
            Column("fingerprint", "SHA-256", numeric=False),
        ),
        rows=tuple(
            (
                words(task.name, note=f"version {task.version}"),
                number(task.length, "count"),
                words(task.source, note=task.source_version),
                _kind(task),
                number(task.n_classes, "count"),
                words(f"{task.n_train} / {task.n_dev} / {task.n_test}"),
                number(task.majority_share, "ratio"),
                Entry(f"{task.fingerprint[:_SHORT_HASH]}…", value=task.fingerprint),
            )
            for task in tasks.values()
        ),
        provenance=provenance(o for o in run.outcomes if o.record.task is not None),
    )


def _kind(task: TaskInfo) -> Entry:
    if task.stand_in:
        return words("stand-in", note=task.description, flag="warning")
    return words("task's own", note=task.description)


def method_table(run: RecordSet) -> Table:
    """Return each method's parameters, exactness and caveats."""
    described = {o.record.method.name for o in run.outcomes if o.record.status == "ok"}
    found: dict[str, tuple[MethodInfo, dict[str, None]]] = {}
    for outcome in run.outcomes:
        info = outcome.record.method
        # A cell that failed early knows no more of its method than the name.
        if outcome.record.status == "ok" or info.name not in described:
            _, passes = found.setdefault(info.model_dump_json(), (info, {}))
            passes[outcome.record.pass_name] = None
    methods = sorted(found.values(), key=lambda method: method_rank(method[0].name))
    return Table(
        key="methods",
        title="Parameters and caveats",
        caption="Encoder, projections, heads and parameter count are the same for all methods.",
        columns=(
            Column("method", "Method", numeric=False),
            Column("exact", "Exact", numeric=False),
            Column("passes", "Used by", numeric=False),
            Column("parameters", "Parameters", numeric=False),
            Column("caveats", "Caveats", numeric=False),
        ),
        rows=tuple(
            (
                words(info.name),
                words("yes" if info.exact else "approximate"),
                words(", ".join(passes)),
                words(_pairs(info.parameters) or "none"),
                words("; ".join(info.caveats) or "none stated"),
            )
            for info, passes in methods
        ),
        provenance=provenance(run.outcomes),
    )


def _pairs(values: dict[str, _Setting]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in values.items())


def settings_table(run: RecordSet) -> Table:
    """Return the settings of every pass; values that differ between methods are all shown."""
    found: dict[tuple[str, str, str], list[_Setting]] = {}
    for outcome in run.outcomes:
        label = run.settings[setting_of(outcome)]
        for key, value in outcome.record.settings.items():
            values = found.setdefault((outcome.record.pass_name, label, key), [])
            values += [value] if value not in values else []
    return Table(
        key="settings",
        title="Settings",
        caption="Everything the cells were asked to do, as recorded.",
        columns=(
            Column("pass", "Pass", numeric=False),
            Column("setting", "Setting", numeric=False),
            Column("name", "Name", numeric=False),
            Column("value", "Value", numeric=False),
        ),
        rows=tuple((*map(words, key), words(_several(values))) for key, values in found.items()),
        provenance=provenance(run.outcomes),
        collapsed=True,
    )


def _several(values: list[_Setting]) -> str:
    """Show a few values one by one, many numbers as a range."""
    numbers = [value for value in values if isinstance(value, (int, float))]
    if len(values) > _MOST_VALUES and len(numbers) == len(values):
        return f"{min(numbers):g} to {max(numbers):g} ({len(values)} values)"
    return " / ".join(str(value) for value in values)


def environment_table(run: RecordSet) -> Table:
    """Return the machine and software, one column per distinct environment."""
    found: dict[str, list[Environment]] = {}
    for outcome in run.outcomes:
        environment = outcome.record.environment
        stable = environment.model_dump_json(exclude=set(_VARYING))
        found.setdefault(stable, []).append(environment)
    columns = [
        Column(f"environment_{i + 1}", f"{plural(len(same), 'record')}", numeric=False)
        for i, same in enumerate(found.values())
    ]
    rows = [
        (words(label), *(_environment_entry(name, same) for same in found.values()))
        for name, label in _ENVIRONMENT_LABELS.items()
    ]
    return Table(
        key="environment",
        title="Machine and software",
        caption="Ranges where a value moved between cells.",
        columns=(Column("property", "Property", numeric=False), *columns),
        rows=tuple(rows),
        provenance=provenance(run.outcomes),
    )


def _environment_entry(name: str, same: list[Environment]) -> Entry:
    values = [getattr(environment, name) for environment in same]
    known = [value for value in values if value is not None]
    if not known:
        no_gpu = name.startswith("gpu") and same[0].gpu is None
        return absent("no GPU" if no_gpu else "not recorded")
    if name in _VARYING:
        low, high = min(known), max(known)
        return words(f"{low:g}" if low == high else f"{low:g} to {high:g}")
    first = known[0]
    if isinstance(first, list):
        return words(" ".join(first)) if first else absent("none")
    if isinstance(first, bool):
        flagged = name == "git_dirty" and first
        return words("yes" if first else "no", flag="warning" if flagged else "")
    return words(format_quantity(first, "bytes")[0] if name == "memory_bytes" else str(first))


def deviation_table(run: RecordSet) -> Table | None:
    """Return each stated deviation from the publication and where it applies, or None."""
    found: dict[str, list[Outcome]] = {}
    for outcome in run.outcomes:
        for text in outcome.record.deviations:
            found.setdefault(text, []).append(outcome)
    if not found:
        return None
    return Table(
        key="deviations",
        title="Stated deviations",
        caption="What these runs do otherwise than the published ones, as stated by the records.",
        columns=(
            Column("deviation", "Deviation", numeric=False),
            Column("settings", "Where", numeric=False),
            Column("methods", "Methods", numeric=False),
            Column("records", "Records"),
        ),
        rows=tuple(
            (
                words(text),
                words("; ".join(dict.fromkeys(run.settings[setting_of(o)] for o in where))),
                words(", ".join(sorted({o.record.method.name for o in where}, key=method_rank))),
                number(len(where), "count"),
            )
            for text, where in found.items()
        ),
        provenance=provenance(o for o in run.outcomes if o.record.deviations),
    )
