"""Every instruction set that this CPU runs must pass the same comparison as the chosen one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spion_bench.native import library

REPOSITORY = Path(__file__).parents[2]

SCRIPT = """
import torch
from spion_bench.ops import attention_map
from tests.ops.cases import CASES
from tests.ops.maps import compare_map
from tests.ops.oracle import compare_attention
from tests.ops.test_attention_map import operands
attention_map(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))
assert torch.ops.spion_bench.cpu_capability() == "{capability}"
for name in ("block_8", "width_5", "block_32", "holes"):
    for dtype in (torch.float32, torch.float64):
        for implementation in ("fused", "pipeline"):
            compare_attention(
                CASES[name],
                dtype,
                implementation,
                pruned="zero_logit",
                **CASES[name].padding_and_dropout(),
            )
        compare_map(*operands((2, 2, 45, 5), dtype))
"""


def run_with(capability):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(capability=capability)],
        env=os.environ | {"SPION_BENCH_CPU_CAPABILITY": capability},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("capability", ["avx512", "avx2", "portable"])
def test_each_instruction_set_matches_the_oracle(capability):
    library.load()
    if capability == torch.ops.spion_bench.cpu_capability():
        pytest.skip(f"{capability} is what all other tests run on")
    result = run_with(capability)
    if "this CPU does not run" in result.stderr:
        pytest.skip(f"this CPU does not run {capability}")
    assert result.returncode == 0, result.stderr


def test_an_unknown_instruction_set_is_refused():
    result = run_with("avx1024")
    assert result.returncode != 0
    assert "expected avx512, avx2 or portable, got avx1024" in result.stderr
