"""What the GPU model says about a kernel case, as metrics next to the measured ones."""

from __future__ import annotations

from spion_bench.gpu_model.devices import DRIVER_NAMES, PRECISIONS
from spion_bench.gpu_model.predict import METHODS, PASSES, predict
from spion_bench.records import Metric
from spion_bench.suite.cases.case import KernelCase
from spion_bench.suite.metrics import single


def modelled_metrics(case: KernelCase, implementation: str, gpu: str) -> dict[str, Metric]:
    """Return floors, expected times and their ranges: modelled, not measured.

    Empty where there is no model: for an implementation, a way of computing products or a GPU that
    ``gpu_model`` does not know.

    Args:
        case: The case.
        implementation: Name of one of its implementations.
        gpu: What the GPU's driver calls it.
    """
    device, precision = DRIVER_NAMES.get(gpu), PRECISIONS.get(case.precision)
    if device is None or precision is None or implementation not in METHODS:
        return {}
    found: dict[str, Metric] = {}
    for pass_ in PASSES:
        row = predict(device, implementation, pass_, precision, case.shape)
        low, high = 1e3 * row.low_s, 1e3 * row.high_s
        name = f"{pass_}_expected_ms"
        found[name] = single(name, 1e3 * row.expected_s, low=low, high=high)
        found[f"{pass_}_floor_ms"] = single(f"{pass_}_floor_ms", 1e3 * row.floor_s)
    return found
