"""The CUDA source of block_dropout on the emulator, against oracle and CPU kernels."""

import pytest
import torch

from spion_bench.ops import block_dropout
from tests.emulation.pipeline_cases import CASES, DTYPES, emulated, operators, random_tiles


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", [0, 2**32 + 5, 2**63 - 1])
@pytest.mark.parametrize("name", ["block_16", "block_32", "block_64", "block_128"])
def test_dropout_is_the_cpu_kernels_bit_for_bit(name, seed, dtype):
    case = CASES[name]
    probs = random_tiles(case, dtype)
    got = emulated(block_dropout, probs, case.pattern, p=0.4, seed=seed)
    expected = block_dropout(probs.float(), case.pattern, p=0.4, seed=seed).to(dtype)
    assert torch.equal(got, expected)  # one float32 product, rounded once
    assert 0.3 < (got == 0).float().mean() < 0.5


def test_opcheck():
    case = CASES["holes"]
    pattern, dtype = case.pattern, torch.float16
    tiles = random_tiles(case, dtype).requires_grad_()
    args = (tiles, pattern.crow_indices, pattern.col_indices, pattern.block_size, 0.1, 3)
    torch.library.opcheck(operators().block_dropout.default, args)
