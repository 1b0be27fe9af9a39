"""The numbers behind the kernel page's figures: one table per sweep, gaps with their reasons."""

from __future__ import annotations

from dataclasses import dataclass

from spion_bench.report.entries import metric_entry
from spion_bench.report.groups import MethodCells
from spion_bench.report.kernels.points import (
    BOTH,
    FACTORS,
    RATE,
    Point,
    Sweeps,
    shape_letters,
    shape_text,
)
from spion_bench.report.load import Outcome, provenance
from spion_bench.report.methods import BASELINE
from spion_bench.report.parts import Column, Entry, Table, slug

# Sweep -> title of its table, and heading of the factor's column.
_TITLES = {
    "rate": ("Rates on three blocks per row", "Case"),
    "length": ("Length", "L"),
    "per_block": ("Length, three blocks per row", "L"),
    "density": ("Density", "Blocks kept"),
    "head_dim": ("Head width", "D"),
    "block_size": ("Block size", "Block size"),
    "heads": ("Batch times heads", "B * H"),
    "threads": ("Threads", "Threads"),
    "speedup": ("Speed-up cases", "Case"),
    "dtype": ("16-bit inputs", "Case"),
    "from_qk": ("Pattern generation from q and k", "Case"),
}

# What an implementation without a forward pass is timed on.
_WHOLE_CALLS = ("matmul_ms", "copy_ms", "pattern_from_qk_ms")
_RATES = (RATE, "bandwidth", "forward_rate_gflops")


@dataclass(frozen=True)
class Row:
    """One implementation at one point of a sweep."""

    point: Point
    implementation: str
    outcome: Outcome

    @property
    def cells(self) -> MethodCells:
        """The outcome, as tables of methods have it."""
        return MethodCells(self.outcome.method, (self.outcome,))

    def metric(self, names: tuple[str, ...], unit: str | None) -> Entry:
        """Return the first metric that it has; for a failed cell, the first one, as missing."""
        if not self.outcome.is_ok:
            return self.cells.missing("kernel", names[0])
        for name in names:
            metric = self.outcome.measured.metrics.get(name)
            if metric is not None:
                return metric_entry(metric, unit or metric.unit)
        return Entry.absent("does not do this")


def rows_of(points: list[Point]) -> list[Row]:
    """Return a row for every implementation at every point."""
    return [
        Row(point, name, outcome)
        for point in points
        for name, outcome in point.implementations.items()
    ]


def sweep_tables(sweeps: Sweeps, prefix: str) -> list[Table]:
    """Return a table for every sweep that the run has records of."""
    tables = [
        _table(sweeps.of(sweep), sweep, title, head, slug(prefix, sweep))
        for sweep, (title, head) in _TITLES.items()
        if sweeps.of(sweep)
    ]
    memory = sweeps.of("memory")
    return [*tables, _memory_table(memory, slug(prefix, "memory"))] if memory else tables


def _table(points: list[Point], sweep: str, title: str, head: str, key: str) -> Table:
    return Table.of(
        rows_of(points),
        [
            Column("factor", head, lambda row: _factor(row.point, sweep), numeric=sweep in FACTORS),
            Column.text(
                "implementation",
                "Implementation",
                lambda row: Entry.of_text(
                    row.implementation, row.outcome.cell.dtype if sweep == "dtype" else ""
                ),
            ),
            Column("density_ratio", "Blocks kept", _density),
            Column(
                "forward_ms",
                "Forward, or the whole call",
                lambda row: row.metric(("forward_ms", *_WHOLE_CALLS), "ms"),
            ),
            Column(BOTH, "Forward + backward", lambda row: row.metric((BOTH,), "ms")),
            Column("rate", "Rate", lambda row: row.metric(_RATES, None)),
            Column("speedup", f"Speed-up over {BASELINE}", _speedup),
        ],
        key=key,
        title=title,
        caption=_caption(points),
        provenance=provenance(outcome for point in points for outcome in point.outcomes()),
        collapsed=True,
    )


def _caption(points: list[Point]) -> str:
    """Return which parts of the shape all cases of a sweep share."""
    shapes = [shape_letters(point.shape) for point in points]
    shared = [
        f"{name} = {value}"
        for name, value in shapes[0].items()
        if all(shape[name] == value for shape in shapes)
    ]
    return f"All cases: {', '.join(shared)}." if shared else "The shape varies from case to case."


def _factor(point: Point, sweep: str) -> Entry:
    if sweep not in FACTORS:
        return Entry.of_text(point.cell.case, note=shape_text(point.shape))
    value = FACTORS[sweep](point)
    if value is None:
        return Entry.absent("unknown")
    if sweep == "density":
        return Entry.number(value, "ratio", note=f"{point.shape.n_blocks} blocks")
    return Entry.number(value, "count")


def _density(row: Row) -> Entry:
    pattern = row.outcome.measured.pattern
    if pattern is not None:
        return Entry.number(pattern.density[0], "ratio")
    window = row.outcome.method.arguments.get("window")
    if window is not None and row.outcome.is_ok:
        return Entry.absent("a token window", text=f"window {window}")
    return Entry.absent("no block pattern")


def _speedup(row: Row) -> Entry:
    if row.implementation == BASELINE:
        return Entry.absent("the baseline", "baseline")
    for name, note in ((BOTH, ""), ("forward_ms", "forward only")):
        value = row.point.speedup(row.implementation, name)
        if value is not None:
            return Entry.estimate(value, "times", note=note)
    return Entry.absent("needs both numbers")


def _memory_table(points: list[Point], key: str) -> Table:
    return Table.of(
        rows_of(points),
        [
            Column("length", "L", lambda row: Entry.number(row.point.shape.length, "count")),
            Column.text("implementation", "Implementation", lambda row: row.implementation),
            Column(
                "peak_bytes",
                "Peak above the inputs",
                lambda row: row.metric(("forward_backward_peak_bytes",), "bytes"),
            ),
            Column(
                "workspace_bytes",
                "Workspace",
                lambda row: row.metric(("workspace_bytes",), "bytes"),
            ),
        ],
        key=key,
        title="Peak memory",
        caption=(
            f"{_caption(points)} Peak resident size of one forward and backward pass above the "
            "size before it; the workspace is what remains without the output and the gradients."
        ),
        provenance=provenance(outcome for point in points for outcome in point.outcomes()),
        collapsed=True,
    )
