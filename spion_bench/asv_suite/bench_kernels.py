"""asv's view of the kernel cases: the same calls as the kernel pass, followed over commits."""

from __future__ import annotations

from spion_bench.passes.kernel.implementations import prepare
from spion_bench.suite.cases import CASES
from spion_bench.suite.implementations import find_implementation

SEED = 0
FOLLOWED = [case for case in CASES.values() if case.name.endswith("_4096")]
SERIES = [
    (case, find_implementation(name))
    for case in FOLLOWED
    for name in case.implementations
    if name != "python_walk"  # takes seconds, and never changes
]


class KernelCases:
    """One series per kernel case, implementation and timed call; what does not exist is n/a."""

    params = (
        [case.name for case in FOLLOWED],
        list(dict.fromkeys(implementation.name for _, implementation in SERIES)),
        list(dict.fromkeys(call for case, made in SERIES for call in made.calls(case))),
    )
    param_names = ("case", "implementation", "call")
    number = 1
    warmup_time = 0.2

    def setup(self, case: str, implementation: str, call: str) -> None:
        """Draw the inputs; NotImplementedError marks a combination that does not exist."""
        chosen, entry = CASES[case], find_implementation(implementation)
        if implementation not in chosen.implementations:
            raise NotImplementedError(f"{implementation} does not compute {case}")
        if call not in entry.calls(chosen):
            raise NotImplementedError(f"{implementation} has no {call}")
        self.call = prepare(entry, chosen, SEED).calls[call]

    def time_call(self, case: str, implementation: str, call: str) -> None:
        """Time one call."""
        self.call()
