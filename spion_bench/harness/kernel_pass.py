"""The kernel pass: one operator on one kernel case, forward and backward."""

from __future__ import annotations

from spion_bench.harness import kernel_subjects
from spion_bench.harness.cases import find_case
from spion_bench.harness.gate import GateResult, GateShape, check_attention
from spion_bench.harness.metrics import sampled
from spion_bench.harness.outcome import Job, Outcome
from spion_bench.harness.synthetic import BAND_AND_STRIPES
from spion_bench.measure.timing import sample_ms, warm_up
from spion_bench.records import MethodInfo, PatternInfo


class KernelSession:
    """A subject made ready on a case; ``measure`` is called once per round."""

    def __init__(self, job: Job) -> None:
        cell = job.cell
        assert cell.case is not None, "a kernel cell names a case"
        self._cell = cell
        self._case = find_case(cell.case)
        self._prepared = kernel_subjects.prepare(cell.method, self._case, cell.seed)
        self._samples: dict[str, list[float]] = {name: [] for name in self._prepared.calls}

    def check(self) -> GateResult:
        """Run the gate on the case's shape."""
        prepared, case = self._prepared, self._case
        if prepared.attention is None or prepared.pattern is None:
            return GateResult({}, None)  # pattern operators are compared bit for bit in the tests
        shape = GateShape(case.heads, case.length, case.head_dim, masked=False)
        return check_attention(
            prepared.attention, shape, prepared.pattern, "minus_inf", seed=self._cell.seed
        )

    def measure(self) -> None:
        """Take this round's samples of every timed call."""
        settings = self._cell.measure
        for name, call in self._prepared.calls.items():
            warm_up(call, seconds=settings.warmup_s)
            self._samples[name] += sample_ms(
                call, seconds=settings.round_s, min_samples=settings.min_samples
            )

    def outcome(self) -> Outcome:
        """Return what was measured."""
        metrics = {name: sampled(name, samples) for name, samples in self._samples.items()}
        flops = self._prepared.flops.get("forward_backward_ms")
        if flops is not None:
            milliseconds = self._samples["forward_backward_ms"]
            metrics["flops_rate_gflops"] = sampled(
                "flops_rate_gflops", [flops / (ms * 1e6) for ms in milliseconds]
            )
        return Outcome(
            status="ok",
            method=MethodInfo(name=self._cell.method, parameters={"pruned": "minus_inf"}),
            metrics=metrics,
            pattern=self._pattern_info(),
            settings={
                "B": self._case.batch,
                "H": self._case.heads,
                "L": self._case.length,
                "D": self._case.head_dim,
                "block_size": self._case.block_size,
                "warmup_s": self._cell.measure.warmup_s,
            },
        )

    def _pattern_info(self) -> PatternInfo | None:
        pattern = self._prepared.pattern
        if pattern is None:
            return None
        full = pattern.nnzb == pattern.nb**2
        return PatternInfo(
            source="every block" if full else f"synthetic {BAND_AND_STRIPES}",
            block_size=pattern.block_size,
            length=pattern.length,
            nnzb=[pattern.nnzb],
            density=[pattern.density],
        )
