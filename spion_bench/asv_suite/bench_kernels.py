"""asv's view of the kernel cases: the same calls as the kernel pass, followed over commits."""

from __future__ import annotations

from spion_bench.passes.kernel.subjects import prepare
from spion_bench.suite.cases import CASES

SEED = 0


class KernelCases:
    """One series per kernel case, subject and timed call; a call a subject lacks is n/a."""

    params = (
        [case for case in CASES if case.endswith("_4096")],
        ["block_attention", "pipeline", "dense_sdpa", "generate_pattern", "flood_fill"],
        ["forward_ms", "forward_backward_ms", "generate_pattern_ms", "walk_ms"],
    )
    param_names = ("case", "subject", "call")
    number = 1
    warmup_time = 0.2

    def setup(self, case: str, subject: str, call: str) -> None:
        """Draw the inputs; NotImplementedError marks a combination that does not exist."""
        if subject not in CASES[case].subjects:
            raise NotImplementedError(f"{subject} does not compute {case}")
        calls = prepare(subject, CASES[case], SEED).calls
        if call not in calls:
            raise NotImplementedError(f"{subject} has no {call}")
        self.call = calls[call]

    def time_call(self, case: str, subject: str, call: str) -> None:
        """Time one call."""
        self.call()
