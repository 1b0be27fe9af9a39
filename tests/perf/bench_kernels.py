"""Quick feedback on one machine: `nox -s perf`. Records come from `spion-bench run` instead."""

import pytest

from spion_bench.passes.kernel.subjects import prepare
from spion_bench.suite.cases import CASES

CALLS = [
    pytest.param(case.name, subject, name, id=f"{case.name}-{subject}-{name}")
    for case in CASES.values()
    for subject, names in {
        "block_attention": ("forward_ms", "forward_backward_ms"),
        "pipeline": ("forward_ms", "forward_backward_ms"),
        "dense_sdpa": ("forward_ms", "forward_backward_ms"),
        "generate_pattern": ("generate_pattern_ms",),
        "flood_fill": ("walk_ms",),
        "python_walk": ("walk_ms",),
    }.items()
    if subject in case.subjects and not case.sweeps
    for name in names
]


@pytest.mark.parametrize(("case", "subject", "name"), CALLS)
def test_kernel(benchmark, case, subject, name):
    benchmark(prepare(subject, CASES[case], seed=0).calls[name])
