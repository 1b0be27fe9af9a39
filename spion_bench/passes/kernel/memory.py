"""Peak memory of one forward and backward pass of a kernel case, in a process of its own.

The number is the peak resident size during the pass above the resident size before it, with q, k,
v and the output's gradient in place: the output, the three gradients and all scratch memory. What
remains without the outputs is the workspace. The largest of the framed passes counts: an operator
that keeps its scratch memory asks for it only in the first one.
"""

from __future__ import annotations

from spion_bench.measure.memory import (
    CpuPeakMeter,
    clear_refs_problem,
    release_free_heap,
    resident_bytes,
)
from spion_bench.model.attention import UnavailableError, UnsupportedError
from spion_bench.passes.kernel.prepared import Prepared
from spion_bench.records import Metric
from spion_bench.suite.cases.case import KernelCase
from spion_bench.suite.metrics import single

OUTPUTS = 4  # the output and the gradients of q, k and v, all of one size
PEAK = "forward_backward_peak_bytes"
METHOD = "VmHWM above the resident size before the pass, malloc tuned to free at once"


def check_memory(device: str) -> None:
    """Raise unless peak memory of a kernel case can be measured.

    Raises:
        UnsupportedError: On any device but the CPU.
        UnavailableError: If this system does not let a process reset its high-water mark.
    """
    if device != "cpu":
        raise UnsupportedError("peak memory of kernel cases is measured on the CPU only")
    if problem := clear_refs_problem():
        raise UnavailableError(problem)


def frame_pass(prepared: Prepared) -> int:
    """Return the peak bytes of one forward and backward pass."""
    release_free_heap()
    meter = CpuPeakMeter(resident_bytes())
    meter.reset()
    prepared.calls["forward_backward_ms"]()
    return meter.peak_bytes()


def output_bytes(case: KernelCase) -> int:
    """Return the bytes of the output and the gradients, in float32."""
    return OUTPUTS * case.batch * case.heads * case.length * case.head_dim * 4


def memory_metrics(case: KernelCase, peaks: Metric) -> dict[str, Metric]:
    """Return the median peak of the framed passes, and the workspace in it."""
    return {
        PEAK: peaks,
        "workspace_bytes": single("workspace_bytes", max(0, peaks.value - output_bytes(case))),
    }
