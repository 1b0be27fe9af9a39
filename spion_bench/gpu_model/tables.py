"""The GPU model at the tasks' published shapes: rows by key, the tables of docs/gpu_model.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from spion_bench.gpu_model.devices import GPUS, HALF, PRECISIONS, Gpu, Precision
from spion_bench.gpu_model.predict import LABEL, METHODS, PASSES, Prediction, predict
from spion_bench.gpu_model.work import WORK, kept_blocks
from spion_bench.suite.cases.shapes import same_shapes, task_shapes
from spion_bench.suite.pages import Section, markdown_table

SECTION = Section("spion-bench model --write")
"""Where the tables stand in their page."""

METHOD_LABELS = {"dense_sdpa": "dense", "pipeline": "pipeline", "block_attention": "fused"}

_SHAPE_HEADER = ("Task", "B", "H", "L", "D", "Block", "Kept blocks", "Density")
_GPU_HEADER = (
    *("Device", "SMs", "Clock, GHz", "16-bit peak, TFLOP/s"),
    *("HBM, GB/s", "L2, GB/s", "L2, MB"),
)
_SUMMARY_HEADER = (
    *("Device", "Precision", "Task", "Dense", "Pipeline", "Fused", "Fused, floor"),
    *("Dense / fused", "Pipeline / fused"),
)
_TIME_HEADER = (
    *("Task", "Method", "Pass", "HBM", "L2", "Tensor cores", "Exp", "Launches"),
    *("Floor", "Set by", "Expected", "Set by", "Range", "Waves (idle tail)"),
)
_WORK_HEADER = ("Task", "Method", "Pass", "Launches", "GFLOP", "HBM, MB", "L2, MB", "Exp, millions")


Groups = dict[str, tuple[str, ...]]
"""The first task of each shape -> all tasks that have it."""


class Key(NamedTuple):
    """What a row of the model, or of a measurement to compare with it, is about."""

    device: str
    task: str
    method: str
    pass_: str


def model_rows(
    precision: Precision, gpus: Iterable[Gpu] = tuple(GPUS.values())
) -> dict[Key, Prediction]:
    """Return the model of every device, task, method and pass: modelled, not measured.

    Args:
        precision: One of ``devices.PRECISIONS``.
        gpus: The devices.
    """
    shapes = task_shapes()
    return {
        Key(gpu.name, task, method, pass_): predict(gpu, method, pass_, precision, shape)
        for gpu in gpus
        for task, shape in shapes.items()
        for method, pass_ in WORK
    }


def model_text(
    gpus: Sequence[Gpu] = tuple(GPUS.values()),
    precisions: Sequence[Precision] = tuple(PRECISIONS.values()),
) -> str:
    """Return all tables as Markdown."""
    groups = same_shapes()
    rows = {precision: model_rows(precision, gpus) for precision in precisions}
    parts = [_shape_table(groups), _gpu_table(gpus), _summary(gpus, rows, groups)]
    parts += [
        _time_table(gpu, precision, rows[precision], groups)
        for precision in precisions
        for gpu in gpus
    ]
    by_size = {precision.element_bytes: precision for precision in precisions}
    parts += [_work_table(gpus[0], p, rows[p], groups) for p in by_size.values()]
    return "\n\n".join(parts)


def _shape_table(groups: Groups) -> str:
    lines = []
    shapes = task_shapes()
    for task, names in groups.items():
        s, n_blocks = shapes[task], kept_blocks(shapes[task])
        sizes = [str(n) for n in (s.batch, s.heads, s.length, s.head_dim, s.block_size)]
        density = f"{100 * n_blocks / s.nb**2:.1f} %"
        lines.append((", ".join(names), *sizes, f"{n_blocks} of {s.nb**2}", density))
    return _markdown("Shapes: one layer in one training step", _SHAPE_HEADER, lines)


def _gpu_table(gpus: Sequence[Gpu]) -> str:
    lines = [
        (
            f"{gpu.name} ({gpu.product})",
            str(gpu.sms),
            f"{gpu.clock_hz / 1e9:.2f}",
            f"{gpu.half_flops_s / 1e12:.0f}",
            f"{gpu.hbm_bytes_s / 1e9:.0f}",
            f"{gpu.l2_bytes_s / 1e9:.0f}",
            f"{gpu.l2_bytes / 1e6:.0f}",
        )
        for gpu in gpus
    ]
    notes = [
        note
        for gpu in gpus
        for note in (
            f"- {gpu.name}: {gpu.source}.",
            *(f"  - Assumed: {a}." for a in gpu.assumptions),
        )
    ]
    return "\n".join([_markdown("Devices: published figures", _GPU_HEADER, lines), "", *notes])


def _summary(
    gpus: Sequence[Gpu], rows: dict[Precision, dict[Key, Prediction]], groups: Groups
) -> str:
    lines = []
    for gpu in gpus:
        for precision, found in rows.items():
            for task, names in groups.items():
                both = {
                    m: [found[Key(gpu.name, task, m, pass_)] for pass_ in PASSES] for m in METHODS
                }
                dense, pipeline, fused = (sum(p.expected_s for p in both[m]) for m in METHODS)
                floor = sum(p.floor_s for p in both["block_attention"])
                times = [_us(t) for t in (dense, pipeline, fused, floor)]
                ratios = [f"{dense / fused:.1f}", f"{pipeline / fused:.1f}"]
                lines.append((gpu.name, precision.label, ", ".join(names), *times, *ratios))
    return _markdown(f"Expected forward + backward, µs ({LABEL})", _SUMMARY_HEADER, lines)


def _time_table(gpu: Gpu, precision: Precision, rows: dict[Key, Prediction], groups: Groups) -> str:
    lines = []
    for names, key in _keys(gpu, groups):
        row = rows[key]
        limits = [_us(seconds) for seconds in row.floors.values()]
        what = (names, METHOD_LABELS[key.method], key.pass_)
        floor = (_us(row.floor_s), row.floor_limit)
        expected = (_us(row.expected_s), row.expected_limit)
        span = f"{_us(row.low_s)} to {_us(row.high_s)}"
        lines.append((*what, *limits, *floor, *expected, span, _waves(row)))
    title = f"{gpu.name}, {precision.label}: floors and expected times, µs ({LABEL})"
    return _markdown(title, _TIME_HEADER, lines)


def _work_table(gpu: Gpu, precision: Precision, rows: dict[Key, Prediction], groups: Groups) -> str:
    lines = []
    for names, key in _keys(gpu, groups):
        work = rows[key].launches
        sums = (
            sum(x.flops for x in work) / 1e9,
            sum(x.hbm_bytes for x in work) / 1e6,
            sum(x.l2_bytes for x in work) / 1e6,
            sum(x.exps for x in work) / 1e6,
        )
        n_launches = str(rows[key].n_launches)
        what = (names, METHOD_LABELS[key.method], key.pass_, n_launches)
        lines.append((*what, *(_digits(value) for value in sums)))
    kind = HALF.label if precision.element_bytes == HALF.element_bytes else "float32"
    return _markdown(f"Work, {kind} (counted, not measured)", _WORK_HEADER, lines)


def _keys(gpu: Gpu, groups: Groups) -> Iterator[tuple[str, Key]]:
    for task, names in groups.items():
        for method in METHODS:
            for pass_ in PASSES:
                yield ", ".join(names), Key(gpu.name, task, method, pass_)


def _waves(row: Prediction) -> str:
    if row.waves is None or row.idle_tail is None:
        return "unknown"
    return f"{row.waves:.1f} ({100 * row.idle_tail:.0f} %)"


def _us(seconds: float) -> str:
    return _digits(seconds * 1e6)


def _digits(value: float) -> str:
    """Return a number with three digits, or all before the point if there are more."""
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:.{decimals}f}"


def _markdown(title: str, header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return f"### {title}\n\n{markdown_table(header, lines)}"
