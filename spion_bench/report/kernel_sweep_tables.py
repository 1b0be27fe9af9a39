"""The numbers behind the kernel page's figures: one table per sweep, gaps with their reasons."""

from __future__ import annotations

from spion_bench.report.cells import MethodCells, missing_metric, provenance
from spion_bench.report.kernel_points import FACTORS, Point, Sweeps
from spion_bench.report.load import BASELINE, Outcome
from spion_bench.report.table import (
    Column,
    Entry,
    Table,
    absent,
    estimate,
    number,
    slug,
    words,
)
from spion_bench.report.tables import metric_entry

# Sweep -> title of its table; the factor's column is headed by the second word.
_TITLES = {
    "rate": ("Rates on three blocks per row", "Case"),
    "length": ("Length", "L"),
    "per_block": ("Length, three blocks per row", "L"),
    "density": ("Density", "Blocks kept"),
    "head_dim": ("Head width", "D"),
    "block_size": ("Block side", "Block side"),
    "heads": ("Batch times heads", "B * H"),
    "threads": ("Threads", "Threads"),
    "speedup": ("Speed-up cases", "Case"),
    "dtype": ("16-bit inputs", "Case"),
    "from_qk": ("Pattern generation from q and k", "Case"),
}

# What a subject without a forward pass is timed on.
_WHOLE_CALLS = ("matmul_ms", "copy_ms", "pattern_from_qk_ms")
_RATES = ("flops_rate_gflops", "bandwidth", "forward_rate_gflops")


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
    outcomes = [outcome for point in points for outcome in point.outcomes()]
    return Table(
        key=key,
        title=title,
        caption=_caption(points),
        columns=(
            Column("factor", head, numeric=sweep in FACTORS),
            Column("subject", "Subject", numeric=False),
            Column("density_ratio", "Blocks kept"),
            Column("forward_ms", "Forward, or the whole call"),
            Column("forward_backward_ms", "Forward + backward"),
            Column("rate", "Rate"),
            Column("speedup", f"Speed-up over {BASELINE}"),
        ),
        rows=tuple(
            _row(point, sweep, subject, outcome)
            for point in points
            for subject, outcome in point.subjects.items()
        ),
        provenance=provenance(outcomes),
        collapsed=True,
    )


def _caption(points: list[Point]) -> str:
    """Say which parts of the shape all cases of a sweep share."""
    shared = [
        f"{name} = {value}"
        for name, value in points[0].shape.items()
        if all(point.shape[name] == value for point in points)
    ]
    return f"All cases: {', '.join(shared)}." if shared else "The shape varies from case to case."


def _row(point: Point, sweep: str, subject: str, outcome: Outcome) -> tuple[Entry, ...]:
    cells = MethodCells(subject, (outcome,))
    return (
        _factor(point, sweep),
        words(subject, note=str(outcome.record.dtype) if sweep == "dtype" else ""),
        _density(outcome),
        _metric(cells, ("forward_ms", *_WHOLE_CALLS), "forward_ms", "ms"),
        _metric(cells, ("forward_backward_ms",), "forward_backward_ms", "ms"),
        _metric(cells, _RATES, "flops_rate_gflops", None),
        _speedup(point, subject),
    )


def _factor(point: Point, sweep: str) -> Entry:
    if sweep not in FACTORS:
        shape = ", ".join(f"{name} = {value}" for name, value in point.shape.items())
        return words(point.label, note=shape)
    value = FACTORS[sweep](point)
    if value is None:
        return absent("not known")
    if sweep == "density":
        return number(value, "ratio", note=f"{point.n_blocks} blocks")
    return number(value, "count")


def _density(outcome: Outcome) -> Entry:
    pattern = outcome.record.pattern
    if pattern is not None:
        return number(pattern.density[0], "ratio")
    window = outcome.record.settings.get("window")
    if window is not None:
        return absent("a token window", text=f"window {window}")
    return absent("no block pattern")


def _metric(cells: MethodCells, names: tuple[str, ...], wanted: str, unit: str | None) -> Entry:
    """Return the first metric that the subject has; ``wanted`` is missed if its cell failed."""
    if not cells.ok("kernel"):
        return missing_metric(cells, "kernel", wanted)
    for name in names:
        metric = cells.metric("kernel", name)
        if metric is not None:
            return metric_entry(metric, unit or metric.unit)
    return absent("not its work")


def _speedup(point: Point, subject: str) -> Entry:
    if subject == BASELINE:
        return absent("the baseline", "baseline")
    for name, note in (("forward_backward_ms", ""), ("forward_ms", "forward only")):
        value = point.speedup(subject, name)
        if value is not None:
            return estimate(value, "times", note=note)
    return absent("no pair of numbers")


def _memory_table(points: list[Point], key: str) -> Table:
    outcomes = [outcome for point in points for outcome in point.outcomes()]
    return Table(
        key=key,
        title="Peak memory",
        caption=(
            f"{_caption(points)} Peak resident size of one forward and backward pass above the "
            "size before it; the workspace is what remains without the output and the gradients."
        ),
        columns=(
            Column("length", "L"),
            Column("subject", "Subject", numeric=False),
            Column("peak_bytes", "Peak above the inputs"),
            Column("workspace_bytes", "Workspace"),
        ),
        rows=tuple(
            (
                number(point.shape["L"], "count"),
                words(subject),
                _metric(
                    MethodCells(subject, (outcome,)),
                    ("forward_backward_peak_bytes",),
                    "forward_backward_peak_bytes",
                    "bytes",
                ),
                _metric(
                    MethodCells(subject, (outcome,)),
                    ("workspace_bytes",),
                    "workspace_bytes",
                    "bytes",
                ),
            )
            for point in points
            for subject, outcome in point.subjects.items()
        ),
        provenance=provenance(outcomes),
        collapsed=True,
    )
