"""Quick feedback on one machine: `nox -s perf`. Records come from `spion-bench run` instead.

`-- --benchmark-save=before`, then `-- --benchmark-compare --benchmark-compare-fail=median:20%`.
"""

import pytest

from spion_bench.passes.kernel.implementations import prepare
from spion_bench.suite.cases import CASES
from spion_bench.suite.implementations import find_implementation

CALLS = [
    pytest.param(case, implementation, name, id=f"{case.name}-{implementation.name}-{name}")
    for case in CASES.values()
    if not case.sweeps
    for implementation in map(find_implementation, case.implementations)
    for name in implementation.calls(case)
]


@pytest.mark.parametrize(("case", "implementation", "name"), CALLS)
def test_kernel(benchmark, case, implementation, name):
    benchmark(prepare(implementation, case, seed=0).calls[name])
