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
from spion_bench.model.attention import UnsupportedError
from spion_bench.passes.gate.oracle import GateResult
from spion_bench.passes.kernel import subjects as kernel_subjects
from spion_bench.passes.kernel.session import check_kernel, kernel_outcome
from spion_bench.passes.kernel.subjects import Setting
from spion_bench.run.messages import Job, Outcome
from spion_bench.suite.cases import find_case
from spion_bench.suite.metrics import single

OUTPUTS = 4  # the output and the gradients of q, k and v, all of one size


class KernelMemorySession:
    """A subject made ready on a case; ``measure`` frames one pass."""

    def __init__(self, job: Job) -> None:
        cell = job.cell
        assert cell.case is not None, "a kernel cell names a case"
        if cell.device != "cpu":
            raise UnsupportedError("peak memory of kernel cases is measured on the CPU only")
        if problem := clear_refs_problem():
            raise UnsupportedError(problem)
        self._cell = cell
        self._case = find_case(cell.case)
        self._prepared = kernel_subjects.prepare(cell.method, self._case, cell.seed)
        self._peaks: list[int] = []

    def check(self) -> GateResult:
        """Run the gate; it also loads every library that the pass needs."""
        return check_kernel(self._cell.method, self._case, self._cell.seed)

    def measure(self) -> None:
        """Frame one pass."""
        release_free_heap()
        meter = CpuPeakMeter(resident_bytes())
        meter.reset()
        self._prepared.calls["forward_backward_ms"]()
        self._peaks.append(meter.peak_bytes())

    def outcome(self) -> Outcome:
        """Return what was measured."""
        case = self._case
        output_bytes = OUTPUTS * case.batch * case.heads * case.length * case.head_dim * 4
        peak = max(self._peaks)
        metrics = {
            "forward_backward_peak_bytes": single("forward_backward_peak_bytes", peak),
            "workspace_bytes": single("workspace_bytes", max(0, peak - output_bytes)),
        }
        settings: dict[str, Setting] = {
            "threads": self._cell.threads,
            "output_bytes": output_bytes,
            "memory_method": (
                "VmHWM above the resident size before the pass, malloc tuned to free at once"
            ),
        }
        return kernel_outcome(self._cell.method, case, self._prepared, metrics, settings)
