"""The GPU's part of the kernel page: times at the tasks' shapes, beside what the model says.

Numbers of the model are computed, not measured, and every column of them says so. They come from
the records: the run knew its GPU. ``docs/gpu_model.md`` explains the model.
"""

from __future__ import annotations

from spion_bench.records import Metric, Record
from spion_bench.report.cells import MethodCells, missing_metric, provenance
from spion_bench.report.kernel_points import OURS, Point, Sweeps
from spion_bench.report.load import BASELINE, Outcome
from spion_bench.report.quantities import format_quantity, join_words, plural
from spion_bench.report.table import (
    Column,
    Entry,
    Headline,
    Section,
    Table,
    absent,
    estimate,
    missing,
    number,
    slug,
    words,
)
from spion_bench.report.tables import metric_entry

MODELLED = "modelled, not measured"
PASSES = ("forward", "backward")

_COLUMNS = (
    Column("task", "Task", numeric=False),
    Column("subject", "Subject", numeric=False),
    Column("pass", "Pass", numeric=False),
    Column("cold_ms", "Measured, cold L2"),
    Column("warm_ms", "Measured, warm L2"),
    Column("expected_ms", f"Expected ({MODELLED})"),
    Column("floor_ms", f"Floor ({MODELLED})"),
    Column("verdict", "Cold against the model", numeric=False),
    Column("speedup", f"Cold: speed-up over {BASELINE}"),
    Column("clocks", "SM clock while measured", numeric=False),
)
_HOW = (
    "Each time is that of one pass of one layer, between two CUDA events, with the whole call "
    "enqueued before the first. Cold L2: a buffer larger than L2 is read before each sample. Warm "
    "L2: it holds what the sample before left, and for the backward pass what the forward pass "
    "left. Subjects of a case took turns in random order, after their gate.",
    f"Expected times and floors are {MODELLED}: docs/gpu_model.md says what they rest on. The "
    "model knows some subjects and some GPUs only; a measured time outside its range, or below its "
    "floor, refutes an assumption of the model.",
)


def gpu_lede(sweeps: Sweeps) -> str:
    """Say in a few sentences on what GPU the sweep ran and how many of its cells gave numbers."""
    records = _records(sweeps)
    ok = [record for record in records if record.status == "ok"]
    gpus = sorted({r.environment.gpu for r in records if r.environment.gpu})
    told = [
        f"{plural(len(sweeps.points), 'kernel case')} at the tasks' published shapes on "
        f"{join_words(gpus) if gpus else 'a machine without a GPU'}{_file(sweeps)}: "
        f"{len(ok)} of {plural(len(records), 'cell')} gave numbers; the others stand in the tables "
        "with their reasons."
    ]
    throttled = [record for record in ok if record.settings.get("throttle_reasons")]
    unread = [record for record in ok if "clocks_not_read" in record.settings]
    if throttled:
        told.append(
            f"The GPU was slowed down while {plural(len(throttled), 'cell')} ran; their rows say "
            "why."
        )
    if unread:
        told.append(f"Nobody knows whether it was while {plural(len(unread), 'cell')} ran.")
    return " ".join(told)


def gpu_headlines(sweeps: Sweeps) -> list[Headline]:
    """Return the fused operator's speed-ups over dense attention, pass by pass, first products."""
    found = []
    first = next((point.setting("products") for point in sweeps.points), "")
    for point in sweeps.points:
        for pass_ in PASSES if point.setting("products") == first else ():
            ratio = point.speedup(OURS, f"{pass_}_ms")
            if ratio is not None:
                text, interval = format_quantity(ratio.value, "times", ratio.low, ratio.high)
                label = f"{point.setting('tasks')}, {pass_}: {OURS} against {BASELINE}"
                found.append(Headline(label, text, interval, f"{first}, cold L2"))
    return found


def gpu_section(sweeps: Sweeps) -> Section:
    """Return the tables of a sweep over the tasks' shapes, one per way of computing products."""
    by_products: dict[str, list[Point]] = {}
    for point in sweeps.points:
        by_products.setdefault(point.setting("products"), []).append(point)
    return Section(
        slug("gpu", sweeps.label),
        f"At the tasks' shapes on a GPU{_file(sweeps)}",
        _HOW,
        tuple(
            _table(points, products, slug("kernels-gpu", sweeps.label, products))
            for products, points in by_products.items()
        ),
    )


def _file(sweeps: Sweeps) -> str:
    return f", {sweeps.label}" if sweeps.label else ""


def _records(sweeps: Sweeps) -> list[Record]:
    return [o.record for point in sweeps.points for o in point.subjects.values()]


def _table(points: list[Point], products: str, key: str) -> Table:
    dtype = next(iter(points[0].subjects.values())).record.dtype
    return Table(
        key=key,
        title=products,
        caption=(
            f"Inputs: {dtype}, in memory as [B, L, H, D]. {OURS} is the fused operator, pipeline "
            "the paper's three steps, csr_pipeline the same steps by torch's cuSPARSE on elements, "
            "flex compiled FlexAttention with the same blocks; the dense ones compute every score."
        ),
        columns=_COLUMNS,
        rows=tuple(
            _row(point, subject, outcome, pass_)
            for point in points
            for subject, outcome in point.subjects.items()
            for pass_ in PASSES
        ),
        provenance=provenance(o for point in points for o in point.outcomes()),
        notes=tuple(_shape(point) for point in points),
    )


def _shape(point: Point) -> str:
    shape = ", ".join(f"{name} = {value}" for name, value in point.shape.items())
    blocks = f", {point.n_blocks} kept blocks" if point.n_blocks else ""
    return f"{point.setting('tasks')}: {shape}{blocks}."


def _row(point: Point, subject: str, outcome: Outcome, pass_: str) -> tuple[Entry, ...]:
    cells = MethodCells(subject, (outcome,))
    chosen = [outcome.record.settings.get(name) for name in ("sdpa_backend", "operator")]
    return (
        words(point.setting("tasks")),
        words(subject, note=", ".join(str(name) for name in chosen if name)),
        words(pass_),
        _time(cells, outcome, f"{pass_}_ms"),
        _time(cells, outcome, f"{pass_}_warm_ms"),
        _expected(outcome.record.metrics.get(f"{pass_}_expected_ms")),
        _floor(outcome.record.metrics.get(f"{pass_}_floor_ms")),
        _verdict(outcome.record.metrics, pass_),
        _speedup(point, subject, pass_),
        _clocks(outcome.record),
    )


def _time(cells: MethodCells, outcome: Outcome, name: str) -> Entry:
    metric = cells.metric("kernel", name)
    if metric is None:
        return missing_metric(cells, "kernel", name)
    entry = metric_entry(metric, "ms")
    call = name.replace("_warm_ms", "_ms")
    if call not in str(outcome.record.settings.get("host_bound", "")).split():
        return entry
    note = f"{entry.note}; holds waiting for the host"
    return Entry(entry.text, entry.interval, note, "warning", entry.value, entry.low, entry.high)


def _expected(metric: Metric | None) -> Entry:
    if metric is None:
        return absent("not modelled")
    text, interval = format_quantity(metric.value, "ms", metric.low, metric.high)
    return Entry(text, interval, MODELLED, "modelled", metric.value, metric.low, metric.high)


def _floor(metric: Metric | None) -> Entry:
    if metric is None:
        return absent("not modelled")
    return number(metric.value, "ms", note=MODELLED, flag="modelled")


def _verdict(metrics: dict[str, Metric], pass_: str) -> Entry:
    """Say whether the measured time with cold L2 refutes the model."""
    names = (f"{pass_}_ms", f"{pass_}_expected_ms", f"{pass_}_floor_ms")
    measured, expected, floor = (metrics.get(name) for name in names)
    if measured is None or expected is None or floor is None:
        return absent("nothing to compare")
    share = format_quantity(measured.value / expected.value, "times")[0]
    note = f"{share} the expected time"
    low = expected.value if expected.low is None else expected.low
    high = expected.value if expected.high is None else expected.high
    if measured.value < floor.value:
        return words("below the floor", note=note, flag="warning")
    if not low <= measured.value <= high:
        side = "below" if measured.value < low else "above"
        return words(f"{side} the range", note=note, flag="warning")
    return words("within the range", note=note, flag="good")


def _speedup(point: Point, subject: str, pass_: str) -> Entry:
    if subject == BASELINE:
        return absent("the baseline", "baseline")
    value = point.speedup(subject, f"{pass_}_ms")
    return absent("no pair of numbers") if value is None else estimate(value, "times", note="")


def _clocks(record: Record) -> Entry:
    """Return the clocks during the measurement; a GPU that was slowed down is a warning."""
    settings = record.settings
    if record.status != "ok":
        return absent("not measured")
    if "sm_clock_mhz_before" not in settings:
        return missing(str(settings.get("clocks_not_read", "not recorded")))
    ends = (settings["sm_clock_mhz_before"], settings["sm_clock_mhz_after"])
    text = "{} to {} MHz".format(*ends)
    reasons = str(settings.get("throttle_reasons", ""))
    note = f"lowest {settings['sm_clock_mhz_lowest']} MHz"
    if not reasons:
        return words(text, note=note)
    return words(text, note=f"{note}; slowed down: {reasons}", flag="warning")
