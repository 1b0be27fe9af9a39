import math
import re

import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.native import library
from spion_bench.ops import block_spmm, reference
from tests.budgets import assert_within_budget
from tests.ops.cases import CASES, Case, random_pattern


def operands(case, dtype):
    size = case.pattern.block_size
    probs = torch.rand(case.batch, case.heads, case.pattern.nnzb, size, size).to(dtype)
    return probs, case.inputs(dtype)[2]


def transposed_indices(pattern):
    return pattern.t_crow_indices, pattern.t_row_indices, pattern.t_tile_indices


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_matches_the_oracle(case, dtype):
    def run(op, dtype):
        leaves = [x.detach().to(dtype).requires_grad_() for x in (probs, v)]
        out = op(*leaves, case.pattern)
        return out.detach(), *torch.autograd.grad(out, leaves, dout.to(dtype))

    probs, v = operands(case, dtype)
    dout = torch.randn(v.shape).to(dtype)
    got = run(block_spmm, dtype)
    expected = [run(reference.block_spmm, d) for d in (dtype, torch.float64)]
    for name, g, ref, oracle in zip(("out", "dprobs", "dv"), got, *expected, strict=True):
        assert_within_budget(name, g, ref, oracle)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_transposed_matches_the_oracle(case, dtype):
    library.load()
    probs, v = operands(case, dtype)
    got = torch.ops.spion_bench.block_spmm_transposed(
        probs, v, *transposed_indices(case.pattern), case.pattern.block_size
    )
    expected = [
        reference.block_spmm_transposed(probs.to(d), v.to(d), case.pattern)
        for d in (dtype, torch.float64)
    ]
    assert_within_budget("out", got, *expected)


def test_gradcheck():
    case = Case(CASES["holes"].pattern, batch=1, heads=2, width=3)
    leaves = [x.requires_grad_() for x in operands(case, torch.float64)]
    assert torch.autograd.gradcheck(
        lambda probs, v: block_spmm(probs, v, case.pattern), leaves, fast_mode=True
    )


@pytest.mark.parametrize("name", ["block_8", "no_batch"])
def test_accepts_an_expanded_gradient(name):
    case = CASES[name]
    leaves = [x.requires_grad_() for x in operands(case, torch.float64)]
    got = torch.autograd.grad(block_spmm(*leaves, case.pattern).sum(), leaves)
    expected = torch.autograd.grad(reference.block_spmm(*leaves, case.pattern).sum(), leaves)
    torch.testing.assert_close(got, expected)


def test_opcheck():
    library.load()
    case, ops = CASES["holes"], torch.ops.spion_bench
    probs, v = operands(case, torch.float32)
    indices = (*case.pattern.index_tensors, case.pattern.block_size)
    leaves = [x.clone().requires_grad_() for x in (probs, v)]
    torch.library.opcheck(ops.block_spmm.default, (*leaves, *indices))
    torch.library.opcheck(
        ops.block_spmm_transposed.default,
        (probs, v, *transposed_indices(case.pattern), case.pattern.block_size),
    )


def test_nan_reaches_its_row_only():
    case = Case(random_pattern(4, 8, 0.5))
    probs, v = operands(case, torch.float32)
    probs[0, 1, 0, 3, 0] = math.nan
    out = block_spmm(probs, v, case.pattern)
    bad = torch.zeros(out.shape, dtype=torch.bool)
    bad[0, 1, 3] = True
    assert torch.equal(out.isnan(), bad)


TILES = torch.zeros(2, 2, 2, 64, 64)
VALUES = torch.zeros(2, 2, 128, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probs": TILES[:, :, 0]}, "probs: expected [B, H, nnzb=2, S=64, S=64] as the pattern"),
        ({"v": VALUES.long()}, "v: expected float32 or float64, got int64"),
        ({"v": VALUES.double()}, "v: expected torch.float32 as probs, got torch.float64; cast it"),
        (
            {"v": VALUES[:, :, :64]},
            "v: expected length 128 as the pattern (2 blocks of 64)",
        ),
        ({"v": VALUES[:1]}, "v: expected [B, H] = [2, 2] as probs, got [1, 2]"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {"probs": TILES, "v": VALUES, "pattern": BlockPattern.band(128, 64, 0)}
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        block_spmm(**(arguments | change))
