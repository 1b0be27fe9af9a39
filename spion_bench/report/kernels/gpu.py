"""The GPU's part of the kernel page: times at the tasks' shapes, next to what the model says.

Numbers of the model are computed, not measured, and every column of them says so. They come from
the records: the run knew its GPU. ``docs/gpu_model.md`` explains the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from spion_bench.records import Metric
from spion_bench.report.entries import clock_entry
from spion_bench.report.kernels.cases import time_entry
from spion_bench.report.kernels.points import FUSED, TASKS, Point, Sweeps, shape_text
from spion_bench.report.kernels.sweeps import Row, rows_of
from spion_bench.report.layout import Headline, Section
from spion_bench.report.load import provenance
from spion_bench.report.methods import BASELINE
from spion_bench.report.parts import Column, Entry, Table, slug
from spion_bench.report.words import format_quantity, join_words, plural
from spion_bench.suite.method import UNPROVEN

MODELLED = "modelled, not measured"
BESIDE_PEERS = "beside other projects' kernels"
PASSES = ("forward", "backward")

_HOW = (
    "Each time is that of one pass of one layer, between two CUDA events, with the whole call "
    "enqueued before the first. Cold L2: a buffer larger than L2 is read before each sample. Warm "
    "L2: it holds what the sample before left, and for the backward pass what the forward pass "
    "left. The implementations of a case took turns in random order, after their gate.",
    f"Expected times and floors are {MODELLED}: docs/gpu_model.md says what they rest on. The "
    "model knows some implementations and some GPUs only; a measured time outside its range, or "
    "below its floor, refutes an assumption of the model.",
)


@dataclass(frozen=True)
class _PassRow:
    """One pass of one implementation in one case."""

    row: Row
    pass_: str

    @property
    def metrics(self) -> dict[str, Metric]:
        return self.row.outcome.measured.metrics

    def metric(self, kind: str) -> Metric | None:
        return self.metrics.get(f"{self.pass_}_{kind}_ms" if kind else f"{self.pass_}_ms")


def gpu_lede(sweeps: Sweeps) -> str:
    """Return in a few sentences on what GPU the sweep ran and how many cells gave numbers."""
    outcomes = sweeps.outcomes
    ok = [outcome for outcome in outcomes if outcome.is_ok]
    gpus = sorted({o.record.environment.gpu for o in outcomes if o.record.environment.gpu})
    sentences = [
        f"{plural(len(sweeps.points), 'kernel case')} on "
        f"{join_words(gpus) if gpus else 'a machine without a GPU'}{sweeps.suffix}: "
        f"{len(ok)} of {plural(len(outcomes), 'cell')} gave numbers; the tables give the "
        "reasons for the others."
    ]
    states = [outcome.measured.gpu for outcome in ok if outcome.measured.gpu]
    throttled = sum(bool(found.throttle_reasons) for found in states)
    unread = sum(found.throttle_reasons is None for found in states)
    if throttled:
        sentences.append(
            f"The GPU was throttled while {plural(throttled, 'cell')} ran; their rows say why."
        )
    if unread:
        sentences.append(
            f"The clocks could not be read during {plural(unread, 'cell')}, so throttling there "
            "is unknown."
        )
    return " ".join(sentences)


def gpu_headlines(sweeps: Sweeps) -> list[Headline]:
    """Return the fused operator's speed-ups over dense attention, in the first precision.

    Only at tasks' shapes: what stands beside other projects' kernels is in no headline.
    """
    found = []
    points = sweeps.of(TASKS)
    first = next((point.cell.precision for point in points), "")
    for point in points:
        for pass_ in PASSES if point.cell.precision == first else ():
            ratio = point.speedup(FUSED, f"{pass_}_ms")
            if ratio is not None:
                shown, interval = format_quantity(ratio.value, "times", ratio.low, ratio.high)
                label = f"{_tasks(point)}, {pass_}: {FUSED} against {BASELINE}"
                found.append(Headline(label, shown, interval, f"{first}, cold L2"))
    return found


def gpu_section(sweeps: Sweeps) -> Section:
    """Return a table per precision at the tasks' shapes, and one beside other projects' kernels."""
    by_precision: dict[str, list[Point]] = {}
    for point in sweeps.points:
        by_precision.setdefault(point.cell.precision or BESIDE_PEERS, []).append(point)
    return Section(
        slug("gpu", sweeps.label),
        f"On a GPU{sweeps.suffix}",
        "How long each kernel takes on the GPU, beside its peers and limits.",
        _HOW,
        tuple(
            _table(points, precision, slug("kernels-gpu", sweeps.label, precision))
            for precision, points in by_precision.items()
        ),
    )


def _tasks(point: Point) -> str:
    return ", ".join(point.cell.tasks) or point.cell.case


def _table(points: list[Point], precision: str, key: str) -> Table:
    return Table.of(
        [_PassRow(row, pass_) for row in rows_of(points) for pass_ in PASSES],
        [
            Column.text("task", "Task or case", lambda item: _tasks(item.row.point)),
            Column.text("implementation", "Implementation", _implementation),
            Column.text("pass", "Pass", lambda item: item.pass_),
            Column("cold_ms", "Measured, cold L2", lambda item: _time(item, f"{item.pass_}_ms")),
            Column(
                "warm_ms", "Measured, warm L2", lambda item: _time(item, f"{item.pass_}_warm_ms")
            ),
            Column("expected_ms", f"Expected ({MODELLED})", _expected),
            Column("floor_ms", f"Floor ({MODELLED})", _floor),
            Column.text("verdict", "Cold against the model", _verdict),
            Column("speedup", f"Cold: speed-up over {BASELINE}", _speedup),
            Column.text("clocks", "SM clock while measured (MHz)", _clocks),
        ],
        key=key,
        title=precision,
        caption=(
            f"Inputs: {points[0].cell.dtype}, in memory as [B, L, H, D]. {FUSED} is the fused "
            "operator, pipeline the paper's three steps, csr_pipeline the same steps by torch's "
            "cuSPARSE on elements, flex compiled FlexAttention with the same blocks, cudnn_bsa and "
            "flashinfer other projects' kernels; the dense ones compute every score."
        ),
        provenance=provenance(o for point in points for o in point.outcomes()),
        notes=tuple(_shape(point) for point in points),
    )


def _shape(point: Point) -> str:
    n_blocks = point.shape.n_blocks
    blocks = f", {n_blocks} kept blocks" if n_blocks else ""
    return f"{_tasks(point)}: {shape_text(point.shape)}{blocks}."


def _implementation(item: _PassRow) -> Entry:
    attention = item.row.outcome.measured.attention
    notes = [*attention.chosen.values()] if attention else []
    if UNPROVEN in item.row.outcome.method.summary:
        notes.append(UNPROVEN)
    return Entry.of_text(item.row.implementation, note=", ".join(notes))


def _time(item: _PassRow, name: str) -> Entry:
    entry = time_entry(item.row.cells, name)
    timing = item.row.outcome.measured.cuda_timing
    call = name.replace("_warm_ms", "_ms")
    if entry.value is None or timing is None or call not in timing.host_bound:
        return entry
    note = f"{entry.note}; includes waiting for the host"
    return Entry(entry.text, entry.interval, note, "warning", entry.value, entry.low, entry.high)


def _expected(item: _PassRow) -> Entry:
    metric = item.metric("expected")
    if metric is None:
        return Entry.absent("not modelled")
    shown, interval = format_quantity(metric.value, "ms", metric.low, metric.high)
    return Entry(shown, interval, MODELLED, "modelled", metric.value, metric.low, metric.high)


def _floor(item: _PassRow) -> Entry:
    metric = item.metric("floor")
    if metric is None:
        return Entry.absent("not modelled")
    return Entry.number(metric.value, "ms", note=MODELLED, flag="modelled")


def _verdict(item: _PassRow) -> Entry:
    """Return whether the measured time with cold L2 refutes the model."""
    measured, expected, floor = (item.metric(kind) for kind in ("", "expected", "floor"))
    if measured is None or expected is None or floor is None or not math.isfinite(measured.value):
        return Entry.absent("nothing to compare")
    share = format_quantity(measured.value / expected.value, "times")[0]
    note = f"{share} the expected time"
    low = expected.value if expected.low is None else expected.low
    high = expected.value if expected.high is None else expected.high
    if measured.value < floor.value:
        return Entry.of_text("below the floor", note=note, flag="warning")
    if not low <= measured.value <= high:
        side = "below" if measured.value < low else "above"
        return Entry.of_text(f"{side} the range", note=note, flag="warning")
    return Entry.of_text("within the range", note=note, flag="good")


def _speedup(item: _PassRow) -> Entry:
    if item.row.implementation == BASELINE:
        return Entry.absent("the baseline", "baseline")
    value = item.row.point.speedup(item.row.implementation, f"{item.pass_}_ms")
    return (
        Entry.absent("needs both numbers")
        if value is None
        else Entry.estimate(value, "times", note="")
    )


def _clocks(item: _PassRow) -> Entry:
    """Return the clocks during the measurement; a GPU that was throttled is a warning."""
    if not item.row.outcome.is_ok:
        return Entry.absent("not measured")
    return clock_entry(item.row.outcome.measured.gpu)
