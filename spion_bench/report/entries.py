"""Entries that several tables and figures show: quality, time, memory, ratios, sparsity."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from spion_bench.records import GpuReadings, Metric, PassName, Spread
from spion_bench.records.paired import ratio_in_turn
from spion_bench.records.statistics import (
    Estimate,
    mean_over_seeds,
    median_of,
    speedup_verdict,
)
from spion_bench.report.groups import Group, MethodCells
from spion_bench.report.methods import BASELINE, is_dense, is_spion
from spion_bench.report.parts import Column, Entry, Flag
from spion_bench.report.words import format_percent

SUMMARY_PASSES: Final[tuple[PassName, ...]] = ("accuracy", "speed", "memory", "gate", "energy")
"""The passes whose numbers stand side by side in the summary."""

METHOD: Final[Column[MethodCells]] = Column.text("method", "Method", lambda cells: cells.method)
"""The first column of tables with a row per method."""


@dataclass(frozen=True)
class Measure:
    """A metric of a pass that is shown by itself, and what a reader calls it."""

    metric: str
    label: str
    pass_name: PassName
    unit: str

    @property
    def column(self) -> Column[MethodCells]:
        """A column of its own."""
        return Column(self.metric, self.label, self.entry)

    def entry(self, cells: MethodCells) -> Entry:
        """Return the metric's median and interval, or why it is missing."""
        metric = cells.metric(self.pass_name, self.metric)
        if metric is None:
            return cells.missing(self.pass_name, self.metric)
        entry = marked(metric_entry(metric, self.unit), cells.marks(self.pass_name))
        return entry.drawn_from(cells.ok(self.pass_name))

    def ratio(self, group: Group, cells: MethodCells, *, verdict: bool = True) -> Entry:
        """Return the baseline's metric over the method's: a speed-up or a memory saving."""
        if cells.method == BASELINE:
            return Entry.absent("the baseline", "baseline")
        own = cells.metric(self.pass_name, self.metric)
        if own is None:
            return cells.missing(self.pass_name, self.metric)
        base = group.baseline.metric(self.pass_name, self.metric) if group.baseline else None
        if base is None or own.value <= 0:
            return Entry.missing(no_number(BASELINE))
        ratio = ratio_in_turn(base, own)
        entry = Entry.estimate(ratio, "times", note=speedup_verdict(ratio) if verdict else "")
        sides = [cells, *([group.baseline] if group.baseline else [])]
        marks = [mark for side in sides for mark in side.marks(self.pass_name)]
        both = [outcome for side in sides for outcome in side.ok(self.pass_name)]
        return marked(entry, marks).drawn_from(both)


STEP: Final = Measure("train_step_ms", "Training step", "speed", "ms")
ATTENTION: Final = Measure("attention_ms", "Attention alone", "speed", "ms")
PEAK: Final = Measure("train_step_peak_bytes", "Peak memory of a step", "memory", "bytes")
PROCESS_PEAK: Final = Measure("process_peak_bytes", "Peak of the process (NVML)", "memory", "bytes")
WORK: Final = Measure("attention_flops_per_step", "Attention work per step", "speed", "FLOP")


def marked(entry: Entry, marks: list[str]) -> Entry:
    """Return an entry that says that its number is marked, if it is."""
    if not marks:
        return entry
    note = "; ".join(part for part in (entry.note, "marked") if part)
    return replace(entry, note=note, flag="warning")


def no_number(method: str) -> str:
    """Return the reason of a ratio whose other side is missing."""
    return f"no number of {method} in this run"


def metric_entry(metric: Metric, unit: str) -> Entry:
    """Return a metric's median, interval and sample count; a computed number says "modelled"."""
    if metric.modelled:
        return Entry.number(metric.value, unit, note="modelled", flag="modelled")
    if len(metric.samples) < 2:
        return Entry.number(metric.value, unit)
    found = median_of(metric)
    note = f"n = {found.n}, range" if found.kind == "range" else f"n = {found.n}"
    return Entry.estimate(found, unit, note=note)


def accuracy_entry(cells: MethodCells) -> Entry:
    """Return the test accuracy as mean over seeds; runs that are "not SPION" are left out."""
    trained, proven = cells.ok("accuracy"), cells.proven()
    if not trained:
        return cells.missing("accuracy", "test_accuracy")
    found = [outcome.measured.metrics.get("test_accuracy") for outcome in proven or trained]
    metrics = [metric for metric in found if metric is not None]
    if not metrics:
        return Entry.missing("the record has no test_accuracy")
    if len(metrics) == 1:
        only = metrics[0]
        result = Estimate(only.value, only.low, only.high, 1, "1 seed, Wilson interval")
    else:
        result = mean_over_seeds([metric.value for metric in metrics]).within(0.0, 1.0)
    left_out = len(cells.of("accuracy")) - len(metrics)
    note = result.basis
    if left_out:
        note += f"; {left_out} of {left_out + len(metrics)} left out"
    note = note if proven else f"not SPION; {note}"
    flag: Flag = "warning" if left_out or not proven else ""
    return Entry.estimate(result, "ratio", note=note, flag=flag).drawn_from(proven or trained)


def density_entry(group: Group, cells: MethodCells) -> Entry:
    """Return the share of blocks kept: the mean over layers and patterns.

    A method whose pattern is not learned has no recorded pattern; its share is that of its scores.
    """
    if is_dense(cells.info):
        return Entry.absent("dense method", "all")
    patterns = cells.patterns()
    if not patterns:
        is_gap = is_spion(cells.info)
        return Entry.missing("no pattern recorded") if is_gap else scores_entry(group, cells)
    densities = [density for pattern in patterns for density in pattern.density]
    note = f"mean of {len(densities)} layer patterns" if len(densities) > 1 else ""
    return Entry.number(math.fsum(densities) / len(densities), "ratio", note=note)


def scores_entry(group: Group, cells: MethodCells) -> Entry:
    """Return the share of dense attention's scores that a method computes, from modelled work."""
    if is_dense(cells.info):
        return Entry.absent("dense method", "all")
    own = cells.metric(WORK.pass_name, WORK.metric)
    if own is None:
        return cells.missing(WORK.pass_name, WORK.metric)
    dense = [
        other.metric(WORK.pass_name, WORK.metric)
        for other in group.methods.values()
        if is_dense(other.info)
    ]
    known = [metric for metric in dense if metric is not None]
    if not known:
        return Entry.missing("no dense method in this run to compare with")
    share = own.value / known[0].value
    return Entry.number(share, "ratio", note="of the scores, modelled", flag="modelled")


def sparse_share_entry(cells: MethodCells) -> Entry:
    """Return the share of training steps that were sparse, mean over seeds."""
    if not is_spion(cells.info):
        return Entry.absent("dense method" if is_dense(cells.info) else "trains one phase")
    transitions = [outcome.measured.transition for outcome in cells.ok("accuracy")]
    shares = [transition.sparse_step_share for transition in transitions if transition]
    if not shares:
        return cells.missing("accuracy", "transition")
    spread = f"{format_percent(min(shares))} to {format_percent(max(shares))}"
    note = spread if len(shares) > 1 else ""
    return Entry.number(math.fsum(shares) / len(shares), "ratio", note=note)


def process_peak_entry(cells: MethodCells) -> Entry:
    """Return the peak that NVML saw of the whole process, or why it saw none."""
    outcomes = cells.of("memory")
    if all(outcome.cell.device == "cpu" for outcome in outcomes):
        return Entry.absent("no GPU")
    for outcome in outcomes:
        gpu, metric = outcome.measured.gpu, PROCESS_PEAK.metric
        if outcome.is_ok and gpu is not None and metric not in outcome.measured.metrics:
            return Entry.missing(gpu.problem or gpu.problems.get(metric) or "not recorded")
    return PROCESS_PEAK.entry(cells)


def clock_entry(gpu: GpuReadings | None) -> Entry:
    """Return the clock of the SMs during a measurement; a throttled GPU is a warning."""
    if gpu is None or gpu.sm_clock_mhz is None:
        reason = None if gpu is None else gpu.problem or gpu.problems.get("sm_clock_mhz")
        return Entry.missing(reason or "not recorded")
    shown, reasons = spread_text(gpu.sm_clock_mhz), " ".join(gpu.throttle_reasons or ())
    if not reasons:
        unknown = gpu.throttle_reasons is None
        return Entry.of_text(shown, note="throttling unknown" if unknown else "")
    share = f" in {gpu.throttled} of {gpu.readings} readings" if gpu.throttled else ""
    return Entry.of_text(shown, note=f"throttled{share}: {reasons}", flag="warning")


def spread_text(spread: Spread) -> str:
    """Return the values of many readings as a median and a range."""
    low, high = f"{spread.lowest:.0f}", f"{spread.highest:.0f}"
    if low == high:
        return low
    return f"{low} to {high}" if spread.median is None else f"{spread.median:.0f} ({low} to {high})"
