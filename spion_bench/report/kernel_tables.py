"""The kernel tables: attention alone against dense attention, and pattern generation alone."""

from __future__ import annotations

from dataclasses import dataclass

from spion_bench.records import PatternInfo
from spion_bench.report.cells import MethodCells, groups, missing_metric, no_number, provenance
from spion_bench.report.kernel_points import is_sweep
from spion_bench.report.load import BASELINE, Outcome, RecordSet
from spion_bench.report.statistics import ratio_of_medians
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
from spion_bench.report.tables import metric_entry

PATTERN_BASELINE = "python_walk"
"""What pattern generation is compared with: the walk in plain Python, as the publication has it."""

_ATTENTION_COLUMNS = (
    Column("method", "Method", numeric=False),
    Column("density_ratio", "Blocks kept"),
    Column("forward_ms", "Forward"),
    Column("forward_speedup", f"Forward: speed-up over {BASELINE}"),
    Column("forward_backward_ms", "Forward + backward"),
    Column("forward_backward_speedup", f"Forward + backward: speed-up over {BASELINE}"),
    Column("density_limit", "What the density would allow (1/d)"),
    Column("flops_rate_gflops", "Rate"),
)

_PATTERN_COLUMNS = (
    Column("method", "Subject", numeric=False),
    Column("generate_pattern_ms", "Map to pattern"),
    Column("walk_ms", "Walk on the pooled map"),
    Column("walk_speedup", f"Walk: speed-up over {PATTERN_BASELINE}"),
)


@dataclass(frozen=True)
class KernelCase:
    """One shape on which kernels were compared; numbers within a case may be compared."""

    name: str
    shape: str
    methods: dict[str, MethodCells]

    @property
    def outcomes(self) -> list[Outcome]:
        """All outcomes of the case, method by method."""
        return [outcome for cells in self.methods.values() for outcome in cells.outcomes]

    @property
    def is_attention(self) -> bool:
        """Whether the case times attention; otherwise it times pattern generation."""
        return BASELINE in self.methods

    def speedup(self, method: str, metric: str, baseline: str = BASELINE) -> Entry:
        """Return how many times faster than the baseline a method is."""
        cells = self.methods[method]
        if method == baseline:
            return absent("the baseline", "baseline")
        own = cells.metric("kernel", metric)
        if own is None:
            return missing_metric(cells, "kernel", metric)
        base = self.methods[baseline].metric("kernel", metric) if baseline in self.methods else None
        if base is None:
            return missing(no_number(baseline))
        return estimate(ratio_of_medians(base, own), "times", note="")


def kernel_cases(run: RecordSet) -> list[KernelCase]:
    """Return every kernel case of a run that is no point of a sweep, attention first."""
    found: dict[tuple[str, str, str], dict[str, list[Outcome]]] = {}
    for group in groups(run, ("kernel",)):
        for outcome in group.outcomes:
            if is_sweep(outcome):
                continue
            key = (group.label, outcome.label, _shape(outcome))
            found.setdefault(key, {}).setdefault(outcome.record.method.name, []).append(outcome)
    cases = [
        KernelCase(
            f"{name} ({label})" if name else label,
            shape,
            {method: MethodCells(method, tuple(outcomes)) for method, outcomes in methods.items()},
        )
        for (label, name, shape), methods in found.items()
    ]
    return sorted(cases, key=lambda case: not case.is_attention)


def _shape(outcome: Outcome) -> str:
    return ", ".join(f"{name} = {value}" for name, value in outcome.shape.items())


def kernel_tables(run: RecordSet) -> list[Table]:
    """Return one table per kernel case."""
    return [
        _attention_table(case) if case.is_attention else _pattern_table(case)
        for case in kernel_cases(run)
    ]


def _attention_table(case: KernelCase) -> Table:
    return Table(
        key=slug("kernel", case.name),
        title=case.name,
        caption=f"Attention alone, q k v to output. {case.shape or 'Shape not recorded'}.",
        columns=_ATTENTION_COLUMNS,
        rows=tuple(tuple(_attention_row(case, cells)) for cells in case.methods.values()),
        provenance=provenance(case.outcomes),
        notes=(
            "1/d is modelled: the speed-up if time were proportional to the kept blocks. It is a "
            "yardstick, not a measurement.",
        ),
    )


def _attention_row(case: KernelCase, cells: MethodCells) -> list[Entry]:
    patterns = [o.record.pattern for o in cells.ok("kernel") if o.record.pattern]
    pattern = patterns[0] if patterns else None
    return [
        words(cells.method),
        _density(cells, pattern),
        _time(cells, "forward_ms"),
        case.speedup(cells.method, "forward_ms"),
        _time(cells, "forward_backward_ms"),
        case.speedup(cells.method, "forward_backward_ms"),
        _limit(cells, pattern),
        _time(cells, "flops_rate_gflops", "GFLOP/s"),
    ]


def _density(cells: MethodCells, pattern: PatternInfo | None) -> Entry:
    if pattern is None:
        return missing_metric(cells, "kernel", "pattern")
    blocks = (pattern.length // pattern.block_size) ** 2
    note = f"{pattern.nnzb[0]} of {blocks} blocks; {pattern.source}"
    return number(pattern.density[0], "ratio", note=note)


def _time(cells: MethodCells, name: str, unit: str = "ms") -> Entry:
    metric = cells.metric("kernel", name)
    return missing_metric(cells, "kernel", name) if metric is None else metric_entry(metric, unit)


def _limit(cells: MethodCells, pattern: PatternInfo | None) -> Entry:
    if cells.method == BASELINE:
        return absent("the baseline", "baseline")
    if pattern is None or pattern.density[0] <= 0:
        return missing_metric(cells, "kernel", "pattern")
    return number(1 / pattern.density[0], "times", note="modelled", flag="modelled")


def _pattern_table(case: KernelCase) -> Table:
    return Table(
        key=slug("kernel", case.name),
        title=case.name,
        caption=f"Pattern generation alone, one layer. {case.shape or 'Shape not recorded'}.",
        columns=_PATTERN_COLUMNS,
        rows=tuple(tuple(_pattern_row(case, cells)) for cells in case.methods.values()),
        provenance=provenance(case.outcomes),
    )


def _pattern_row(case: KernelCase, cells: MethodCells) -> list[Entry]:
    walks = cells.metric("kernel", "walk_ms") is not None
    is_failed = not cells.ok("kernel")
    times = [
        _time(cells, name) if is_failed or cells.metric("kernel", name) else absent("not its work")
        for name in ("generate_pattern_ms", "walk_ms")
    ]
    speedup = case.speedup(cells.method, "walk_ms", PATTERN_BASELINE)
    return [words(cells.method), *times, speedup if walks or is_failed else absent("not its work")]
