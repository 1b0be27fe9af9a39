"""The CUDA source of block_sddmm on the emulator, against oracle and CPU kernels."""

import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.ops import block_sddmm, reference
from tests.emulation.pipeline_cases import CASES, DTYPES, check, emulated, operators


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["block_16", "block_128", "width_40", "holes"])
def test_product(name, dtype):
    case = CASES[name]
    pattern, (q, k, _) = case.pattern, case.inputs(dtype)
    scores = emulated(block_sddmm, q, k, pattern, scale=-0.3)
    check("scores", scores, reference.block_sddmm, q, k, pattern=pattern, scale=-0.3)


def test_tf32_is_for_those_who_ask_torch_for_it(allow_tf32):
    case = CASES["width_64"]
    q, k, _ = case.inputs(torch.float32)
    exact = reference.block_sddmm(q.double(), k.double(), case.pattern, scale=1.0)
    errors = []
    for allow in (lambda: None, allow_tf32):
        allow()
        got = emulated(block_sddmm, q, k, case.pattern, scale=1.0)
        errors.append(((got - exact).abs().max() / exact.abs().max()).item())
    assert errors[0] < 2e-6
    assert 1e-5 < errors[1] < 2**-9


@pytest.mark.parametrize(
    ("shape", "dtype", "block_size", "message"),
    [
        ((1, 1, 32, 32), torch.float64, 16, "q: expected float32 or bfloat16 or float16, got"),
        ((1, 1, 32, 32), torch.float32, 8, "q: expected blocks of 16, 32, 64 or 128 tokens on CU"),
        ((1, 1, 32, 136), torch.float32, 16, "q: expected a head width D from 1 to 128 on CUDA"),
    ],
)
def test_what_the_kernels_lack_is_refused(shape, dtype, block_size, message):
    q = torch.zeros(shape, dtype=dtype)
    with pytest.raises(ValueError, match=message):
        emulated(block_sddmm, q, q, BlockPattern.full(32, block_size), scale=1.0)


def test_lists_that_are_none_are_refused():
    crow, col = (torch.tensor(x, dtype=torch.int32) for x in ([0, 1, 2], [0, 2]))
    x = torch.zeros(1, 1, 32, 32)
    with pytest.raises(RuntimeError, match="col_indices: expected values from 0 to 1"):
        operators().block_sddmm(x, x, crow, col, crow, col, col, 16, 1.0)


def test_opcheck():
    case = CASES["holes"]
    pattern, dtype = case.pattern, torch.float16
    q, k, _ = (x.requires_grad_() for x in case.inputs(dtype))
    args = (q, k, *pattern.index_tensors, pattern.block_size, 0.2)
    torch.library.opcheck(operators().block_sddmm.default, args)
