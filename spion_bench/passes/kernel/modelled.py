"""What the GPU model says about a kernel case, as metrics beside the measured ones."""

from __future__ import annotations

from spion_bench.gpu_model.devices import DRIVER_NAMES, PRECISIONS
from spion_bench.gpu_model.predict import METHODS, PASSES, predict
from spion_bench.gpu_model.work import Shape
from spion_bench.records import Metric
from spion_bench.suite.cases.case import KernelCase
from spion_bench.suite.metrics import single


def modelled_metrics(case: KernelCase, subject: str, gpu: str) -> dict[str, Metric]:
    """Return floors, expected times and their ranges: modelled, not measured.

    Empty where there is no model: for a subject, a way of computing products or a GPU that
    ``measure.gpu_model`` does not know.

    Args:
        case: The case.
        subject: One of its subjects.
        gpu: What the GPU's driver calls it.
    """
    device = DRIVER_NAMES.get(gpu)
    precision = next((p for p in PRECISIONS.values() if p.label == case.products), None)
    if device is None or precision is None or subject not in METHODS:
        return {}
    shape = Shape(
        case.batch, case.heads, case.length, case.head_dim, case.block_size, case.n_blocks
    )
    found: dict[str, Metric] = {}
    for pass_ in PASSES:
        row = predict(device, subject, pass_, precision, shape)
        low, high = 1e3 * row.low_s, 1e3 * row.high_s
        name = f"{pass_}_expected_ms"
        found[name] = single(name, 1e3 * row.expected_s, low=low, high=high)
        found[f"{pass_}_floor_ms"] = single(f"{pass_}_floor_ms", 1e3 * row.floor_s)
    return found
