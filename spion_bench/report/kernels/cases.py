"""The kernel tables: attention alone against dense attention, and pattern generation alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from spion_bench.records import KernelCell, PatternInfo
from spion_bench.records.paired import ratio_in_turn
from spion_bench.report.entries import METHOD, marked, metric_entry, no_number
from spion_bench.report.groups import MethodCells, cells_by_method, groups
from spion_bench.report.kernels.points import BOTH, RATE, is_sweep, shape_text
from spion_bench.report.load import Outcome, RecordSet, provenance
from spion_bench.report.methods import BASELINE
from spion_bench.report.parts import Column, Entry, Table, slug

PATTERN_BASELINE: Final = "python_walk"
"""What pattern generation is compared with: the walk in plain Python, as published."""


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
        return any(cells.info.family != "operator" for cells in self.methods.values())

    def speedup(self, method: str, metric: str, baseline: str = BASELINE) -> Entry:
        """Return how many times faster than the baseline a method is."""
        cells = self.methods[method]
        if method == baseline:
            return Entry.absent("the baseline", "baseline")
        own = cells.metric("kernel", metric)
        if own is None:
            return cells.missing("kernel", metric)
        base = self.methods[baseline].metric("kernel", metric) if baseline in self.methods else None
        if base is None:
            return Entry.missing(no_number(baseline))
        entry = Entry.estimate(ratio_in_turn(base, own), "times", note="")
        return marked(entry, [*cells.marks("kernel"), *self.methods[baseline].marks("kernel")])


def kernel_cases(run: RecordSet) -> list[KernelCase]:
    """Return every kernel case of a run that is no point of a sweep, attention first."""
    found: dict[tuple[str, str, str], list[Outcome]] = {}
    for group in groups(run, ("kernel",)):
        for outcome in group.outcomes:
            if isinstance(outcome.cell, KernelCell) and not is_sweep(outcome):
                key = (group.label, outcome.cell.case, shape_text(outcome.cell.shape))
                found.setdefault(key, []).append(outcome)
    cases = [
        KernelCase(f"{name} ({label})", shape, cells_by_method(outcomes))
        for (label, name, shape), outcomes in found.items()
    ]
    return sorted(cases, key=lambda case: not case.is_attention)


def kernel_tables(run: RecordSet) -> list[Table]:
    """Return one table per kernel case."""
    return [
        _attention_table(case) if case.is_attention else _pattern_table(case)
        for case in kernel_cases(run)
    ]


def _attention_table(case: KernelCase) -> Table:
    return Table.of(
        case.methods.values(),
        [
            METHOD,
            Column("density_ratio", "Blocks kept", _density),
            Column("forward_ms", "Forward", lambda cells: time_entry(cells, "forward_ms")),
            Column(
                "forward_speedup",
                f"Forward: speed-up over {BASELINE}",
                lambda cells: case.speedup(cells.method, "forward_ms"),
            ),
            Column(BOTH, "Forward + backward", lambda cells: time_entry(cells, BOTH)),
            Column(
                "forward_backward_speedup",
                f"Forward + backward: speed-up over {BASELINE}",
                lambda cells: case.speedup(cells.method, BOTH),
            ),
            Column("density_limit", "Ideal at this density (1/d)", _limit),
            Column(RATE, "Rate", lambda cells: time_entry(cells, RATE, "GFLOP/s")),
        ],
        key=slug("kernel", case.name),
        title=case.name,
        caption=f"Attention alone, q k v to output. {case.shape}.",
        provenance=provenance(case.outcomes),
        notes=(
            "1/d is modelled: the speed-up if time were proportional to the kept blocks. It is a "
            "yardstick, not a measurement.",
        ),
    )


def _pattern_of(cells: MethodCells) -> PatternInfo | None:
    patterns = [o.measured.pattern for o in cells.ok("kernel") if o.measured.pattern]
    return patterns[0] if patterns else None


def _density(cells: MethodCells) -> Entry:
    pattern = _pattern_of(cells)
    if pattern is None:
        return cells.missing("kernel", "pattern")
    blocks = (pattern.length // pattern.block_size) ** 2
    note = f"{pattern.nnzb[0]} of {blocks} blocks; {pattern.source}"
    return Entry.number(pattern.density[0], "ratio", note=note)


def time_entry(cells: MethodCells, name: str, unit: str = "ms") -> Entry:
    """Return a metric of a kernel cell, or why it is missing."""
    metric = cells.metric("kernel", name)
    if metric is None:
        return cells.missing("kernel", name)
    return marked(metric_entry(metric, unit), cells.marks("kernel"))


def _limit(cells: MethodCells) -> Entry:
    pattern = _pattern_of(cells)
    if cells.method == BASELINE:
        return Entry.absent("the baseline", "baseline")
    if pattern is None or pattern.density[0] <= 0:
        return cells.missing("kernel", "pattern")
    return Entry.number(1 / pattern.density[0], "times", note="modelled", flag="modelled")


def _pattern_table(case: KernelCase) -> Table:
    return Table.of(
        case.methods.values(),
        [
            Column.text("method", "Implementation", lambda cells: cells.method),
            Column(
                "generate_pattern_ms",
                "Map to pattern",
                lambda cells: _own_time(cells, "generate_pattern_ms"),
            ),
            Column("walk_ms", "Walk on the pooled map", lambda cells: _own_time(cells, "walk_ms")),
            Column(
                "walk_speedup",
                f"Walk: speed-up over {PATTERN_BASELINE}",
                lambda cells: _walk_speedup(case, cells),
            ),
        ],
        key=slug("kernel", case.name),
        title=case.name,
        caption=f"Pattern generation alone, one layer. {case.shape}.",
        provenance=provenance(case.outcomes),
    )


def _own_time(cells: MethodCells, name: str) -> Entry:
    """Return a time; a cell that gave other numbers does not do this work."""
    is_other_work = cells.ok("kernel") and cells.metric("kernel", name) is None
    return Entry.absent("does not do this") if is_other_work else time_entry(cells, name)


def _walk_speedup(case: KernelCase, cells: MethodCells) -> Entry:
    if cells.ok("kernel") and cells.metric("kernel", "walk_ms") is None:
        return Entry.absent("does not do this")
    return case.speedup(cells.method, "walk_ms", PATTERN_BASELINE)
