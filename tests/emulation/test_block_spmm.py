"""The CUDA source of block_spmm on the emulator, against oracle and CPU kernels."""

import pytest
import torch

from spion_bench.ops import block_spmm, reference
from tests.emulation.pipeline_cases import (
    CASES,
    DTYPES,
    check,
    emulated,
    operators,
    random_tiles,
    shifted,
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["block_16", "block_128", "width_40", "holes"])
def test_products(name, dtype):
    case = CASES[name]
    pattern, (_, _, v) = case.pattern, case.inputs(dtype)
    probs = random_tiles(case, dtype)
    out = emulated(block_spmm, probs, v, pattern)
    check("out", out, reference.block_spmm, probs, v, pattern=pattern)
    indices = (pattern.t_crow_indices, pattern.t_row_indices, pattern.t_tile_indices)
    transposed = operators().block_spmm_transposed(probs, v, *indices, pattern.block_size)
    check("transposed", transposed, reference.block_spmm_transposed, probs, v, pattern=pattern)


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_that_begin_anywhere(dtype):
    case = CASES["block_16"]
    pattern, (_, _, v) = case.pattern, case.inputs(dtype)
    probs = random_tiles(case, dtype)
    out = emulated(block_spmm, shifted(probs), shifted(v), pattern)
    assert torch.equal(out, emulated(block_spmm, probs, v, pattern))


def test_tf32_is_for_those_who_ask_torch_for_it(allow_tf32):
    case = CASES["width_64"]
    _, _, v = case.inputs(torch.float32)
    probs = random_tiles(case, torch.float32)
    exact = reference.block_spmm(probs.double(), v.double(), case.pattern)
    errors = []
    for allow in (lambda: None, allow_tf32):
        allow()
        got = emulated(block_spmm, probs, v, case.pattern)
        errors.append(((got - exact).abs().max() / exact.abs().max()).item())
    assert errors[0] < 2e-6
    assert 1e-5 < errors[1] < 2**-9


def test_lists_that_are_none_are_refused():
    crow, col = (torch.tensor(x, dtype=torch.int32) for x in ([0, 1, 2], [0, 2]))
    rows = torch.tensor([0, 1], dtype=torch.int32)
    x, tiles = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 2, 16, 16)
    with pytest.raises(RuntimeError, match="t_tile_indices: expected values from 0 to 1"):
        operators().block_spmm_transposed(tiles, x, crow, rows, col, 16)


def test_opcheck():
    case = CASES["holes"]
    pattern, dtype = case.pattern, torch.float16
    _, _, v = (x.requires_grad_() for x in case.inputs(dtype))
    tiles = random_tiles(case, dtype).requires_grad_()
    args = (tiles, v, *pattern.index_tensors, pattern.block_size)
    torch.library.opcheck(operators().block_spmm.default, args)
    columns = (pattern.t_crow_indices, pattern.t_row_indices, pattern.t_tile_indices)
    args = (tiles.detach(), v.detach(), *columns, pattern.block_size)
    torch.library.opcheck(operators().block_spmm_transposed.default, args)
