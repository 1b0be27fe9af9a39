"""The summary: one table per setting, with quality, time, memory and sparsity side by side."""

from __future__ import annotations

from dataclasses import dataclass

from spion_bench.records import Metric, PassName
from spion_bench.report.cells import (
    Group,
    MethodCells,
    groups,
    is_untried,
    missing_metric,
    no_number,
    provenance,
    source_note,
)
from spion_bench.report.load import BASELINE, RecordSet
from spion_bench.report.quantities import join_words
from spion_bench.report.sparsity import density_entry, sparse_share_entry
from spion_bench.report.statistics import (
    Estimate,
    mean_over_seeds,
    median_of,
    ratio_of_medians,
    speedup_verdict,
)
from spion_bench.report.table import (
    Column,
    Entry,
    Table,
    absent,
    estimate,
    missing,
    number,
    slug,
    words,
)

SUMMARY_PASSES: tuple[PassName, ...] = ("accuracy", "speed", "memory", "gate", "energy")


@dataclass(frozen=True)
class _Measure:
    """A summary column that is one metric of one pass."""

    metric: str
    label: str
    pass_name: PassName
    unit: str


_STEP = _Measure("train_step_ms", "Training step", "speed", "ms")
_PEAK = _Measure("train_step_peak_bytes", "Peak memory of a step", "memory", "bytes")
_ATTENTION = _Measure("attention_ms", "Attention alone", "speed", "ms")
_DETAILS = (
    _Measure("forward_ms", "Forward pass", "speed", "ms"),
    _ATTENTION,
    _Measure("attention_flops_per_step", "Attention work per step", "speed", "FLOP"),
    _Measure("parameters", "Parameters", "memory", "count"),
    _Measure("model_bytes", "Model size", "memory", "bytes"),
)


def summary_tables(run: RecordSet) -> list[Table]:
    """Return one summary table per setting: quality, time, memory and sparsity side by side."""
    return [_summary_table(group) for group in groups(run, SUMMARY_PASSES)]


def _summary_table(group: Group) -> Table:
    columns = [
        Column("method", "Method", numeric=False),
        Column("test_accuracy_ratio", "Test accuracy"),
        Column("train_step_ms", _STEP.label),
        Column("train_step_speedup", f"Speed-up over {BASELINE}"),
        Column("train_step_peak_bytes", _PEAK.label),
        Column("peak_saving", f"Memory saving over {BASELINE}"),
        Column("density_ratio", "Blocks kept"),
        Column("sparse_step_ratio", "Sparse steps"),
    ]
    rows = [_summary_row(group, cells) for cells in group.methods.values()]
    keep = [i for i in range(len(columns)) if not all(is_untried(row[i]) for row in rows)]
    dropped = [
        column.label.lower()
        for i, column in enumerate(columns)
        if i not in keep and any(row[i].flag == "missing" for row in rows)
    ]
    gap = f"Not measured in this setting, no such cell: {join_words(dropped)}." if dropped else ""
    return Table(
        key=slug("summary", group.label),
        title=group.label,
        caption=source_note(group),
        columns=tuple(columns[i] for i in keep),
        rows=tuple(tuple(row[i] for i in keep) for row in rows),
        provenance=provenance(group.outcomes),
        notes=(gap,) if gap else (),
    )


def detail_tables(run: RecordSet) -> list[Table]:
    """Return, per setting with speed or memory cells, where a step's time and memory go."""
    return [
        _detail_table(group)
        for group in groups(run, ("speed", "memory"))
        if any(outcome.record.metrics for outcome in group.outcomes)
    ]


def _detail_table(group: Group) -> Table:
    columns = [
        Column("method", "Method", numeric=False),
        *(Column(measure.metric, measure.label) for measure in _DETAILS),
        Column("attention_speedup", f"Attention: speed-up over {BASELINE}"),
    ]
    return Table(
        key=slug("details", group.label),
        title=f"{group.label}: cost in detail",
        caption="Attention work is modelled: the products of attention, from the kept blocks.",
        columns=tuple(columns),
        rows=tuple(
            (
                words(cells.method),
                *(_median_entry(cells, measure) for measure in _DETAILS),
                _ratio_entry(group, cells, _ATTENTION, verdict=True),
            )
            for cells in group.methods.values()
        ),
        provenance=provenance(group.outcomes),
        collapsed=True,
    )


def energy_note(run: RecordSet) -> str:
    """Say what became of energy, which needs a GPU."""
    if run.ok("energy"):
        return "Energy: see the table of all numbers."
    if all(outcome.record.environment.gpu is None for outcome in run.outcomes):
        return "Energy: not measured: no GPU."
    return "Energy: not measured: no energy cell gave a number."


def _summary_row(group: Group, cells: MethodCells) -> list[Entry]:
    return [
        words(cells.method, note=_label_note(cells)),
        accuracy_entry(cells),
        step_entry(cells),
        speedup_entry(group, cells),
        memory_entry(cells),
        memory_ratio_entry(group, cells),
        density_entry(group, cells),
        sparse_share_entry(cells),
    ]


def _label_note(cells: MethodCells) -> str:
    approximate = any(not outcome.record.method.exact for outcome in cells.outcomes)
    trained = cells.ok("accuracy")
    notes = ["approximate attention"] if approximate else []
    if trained and not cells.proven():
        notes.append("not SPION: too few sparse steps")
    return "; ".join(notes)


def accuracy_entry(cells: MethodCells) -> Entry:
    """Return the test accuracy as mean over seeds; runs that are "not SPION" are left out."""
    trained, proven = cells.ok("accuracy"), cells.proven()
    if not trained:
        return missing_metric(cells, "accuracy", "test_accuracy")
    used = proven or trained
    metrics = [
        o.record.metrics["test_accuracy"] for o in used if "test_accuracy" in o.record.metrics
    ]
    if not metrics:
        return missing("the record has no test_accuracy")
    if len(metrics) == 1:
        only = metrics[0]
        result = Estimate(only.value, only.low, only.high, 1, "1 seed, Wilson interval")
    else:
        result = _within_unit(mean_over_seeds([metric.value for metric in metrics]))
    left_out = len(cells.of("accuracy")) - len(metrics)
    note = result.basis
    if left_out:
        note += f"; {left_out} of {left_out + len(metrics)} left out"
    if not proven:
        return estimate(result, "ratio", note=f"not SPION; {note}", flag="warning")
    return estimate(result, "ratio", note=note, flag="warning" if left_out else "")


def _within_unit(result: Estimate) -> Estimate:
    """Cut an interval of an accuracy to [0, 1]."""
    low = None if result.low is None else max(0.0, result.low)
    high = None if result.high is None else min(1.0, result.high)
    return Estimate(result.value, low, high, result.n, result.basis)


def step_entry(cells: MethodCells) -> Entry:
    """Return the time of one training step."""
    return _median_entry(cells, _STEP)


def attention_entry(cells: MethodCells) -> Entry:
    """Return the time of one layer's attention, forward and backward."""
    return _median_entry(cells, _ATTENTION)


def memory_entry(cells: MethodCells) -> Entry:
    """Return the peak memory of one training step."""
    return _median_entry(cells, _PEAK)


def _median_entry(cells: MethodCells, measure: _Measure) -> Entry:
    metric = cells.metric(measure.pass_name, measure.metric)
    if metric is None:
        return missing_metric(cells, measure.pass_name, measure.metric)
    return metric_entry(metric, measure.unit)


def metric_entry(metric: Metric, unit: str) -> Entry:
    """Return a metric's median, interval and sample count; a computed number says "modelled"."""
    if metric.modelled:
        return number(metric.value, unit, note="modelled", flag="modelled")
    if len(metric.samples) < 2:
        return number(metric.value, unit)
    return estimate(median_of(metric), unit, note=f"n = {len(metric.samples)}")


def _ratio_entry(group: Group, cells: MethodCells, measure: _Measure, *, verdict: bool) -> Entry:
    if cells.method == BASELINE:
        return absent("the baseline", "baseline")
    own = cells.metric(measure.pass_name, measure.metric)
    if own is None:
        return missing_metric(cells, measure.pass_name, measure.metric)
    if group.baseline is None:
        return missing(no_number(BASELINE))
    base = group.baseline.metric(measure.pass_name, measure.metric)
    if base is None or own.value <= 0:
        return missing(no_number(BASELINE))
    ratio = ratio_of_medians(base, own)
    return estimate(ratio, "times", note=speedup_verdict(ratio) if verdict else "")


def speedup_entry(group: Group, cells: MethodCells) -> Entry:
    """Return how many times faster than the baseline a training step is, with a verdict."""
    return _ratio_entry(group, cells, _STEP, verdict=True)


def memory_ratio_entry(group: Group, cells: MethodCells) -> Entry:
    """Return how many times the method's peak memory the baseline needs."""
    return _ratio_entry(group, cells, _PEAK, verdict=False)
