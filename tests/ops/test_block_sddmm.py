import math
import re

import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.native import library
from spion_bench.ops import block_sddmm, reference
from tests.budgets import assert_within_budget
from tests.ops.cases import CASES, Case


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_matches_the_oracle(case, dtype):
    def run(op, dtype):
        q, k, _ = (x.detach().to(dtype).requires_grad_() for x in inputs)
        scores = op(q, k, case.pattern, scale=0.3)
        grads = torch.autograd.grad(scores, (q, k), dscores.to(dtype))
        return scores.detach(), *grads

    inputs = case.inputs(dtype)
    size = case.pattern.block_size
    dscores = torch.randn(case.batch, case.heads, case.pattern.nnzb, size, size).to(dtype)
    got = run(block_sddmm, dtype)
    expected = [run(reference.block_sddmm, d) for d in (dtype, torch.float64)]
    for name, g, ref, oracle in zip(("scores", "dq", "dk"), got, *expected, strict=True):
        assert_within_budget(name, g, ref, oracle)


@pytest.mark.filterwarnings("ignore:Sparse BSR tensor support is in beta")
def test_tiles_are_in_the_order_of_torch_bsr():
    # torch.sparse_bsr_tensor is an independent reading of the same index tensors.
    case = CASES["holes"]
    q, k, _ = case.inputs(torch.float64)
    tiles = block_sddmm(q, k, case.pattern, scale=1.0)[0, 0]
    expected = (q[0, 0] @ k[0, 0].T) * case.pattern.to_token_mask()
    bsr = torch.sparse_bsr_tensor(
        case.pattern.crow_indices,
        case.pattern.col_indices,
        tiles,
        size=expected.shape,
        check_invariants=True,
    )
    torch.testing.assert_close(bsr.to_dense(), expected)


def test_gradcheck():
    case = Case(CASES["holes"].pattern, batch=1, heads=2, width=3)
    q, k, _ = (x.requires_grad_() for x in case.inputs(torch.float64))
    assert torch.autograd.gradcheck(
        lambda q, k: block_sddmm(q, k, case.pattern, scale=0.5), (q, k), fast_mode=True
    )


def test_gradient_of_one_operand_only():
    case = CASES["block_8"]
    q, k, _ = case.inputs(torch.float64)
    for inputs in ((q.clone().requires_grad_(), k), (q, k.clone().requires_grad_())):
        leaf = next(x for x in inputs if x.requires_grad)
        got = torch.autograd.grad(block_sddmm(*inputs, case.pattern, scale=1.0).sum(), leaf)
        expected = reference.block_sddmm(*inputs, case.pattern, scale=1.0).sum()
        torch.testing.assert_close(got, torch.autograd.grad(expected, leaf))


@pytest.mark.parametrize("name", ["block_8", "no_batch"])
def test_opcheck(name):
    library.load()
    pattern = CASES[name].pattern
    q, k, _ = (x.requires_grad_() for x in CASES[name].inputs(torch.float32))
    torch.library.opcheck(
        torch.ops.spion_bench.block_sddmm.default,
        (q, k, *pattern.index_tensors, pattern.block_size, 0.5),
    )


BLOCKS = BlockPattern.band(128, 64, 0)
GOOD = torch.zeros(2, 2, 128, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": GOOD.half()}, "q: expected float32 or float64, got float16; cast it"),
        ({"k": GOOD[:1]}, "k: expected shape [2, 2, 128, 16] as q, got [1, 2, 128, 16]"),
        (dict.fromkeys("qk", GOOD[:, :, :100]), "q: length 100 is not a multiple of the block"),
        ({"scale": math.nan}, "scale: expected a finite number, got nan"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {"q": GOOD, "k": GOOD, "pattern": BLOCKS, "scale": 1.0}
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        block_sddmm(**(arguments | change))


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, GOOD.half(), "q: expected float32 or float64"),
        (1, GOOD.double(), "k: expected dtype"),
        (1, GOOD[:, :, :64], "k: expected shape"),
        (
            2,
            BLOCKS.crow_indices.long(),
            "crow_indices: expected a contiguous one-dimensional",
        ),
        (2, BLOCKS.crow_indices[:2], "crow_indices: expected 2 block rows"),
        (3, BLOCKS.col_indices + 1, "col_indices: expected values from 0 to 1"),
        (-2, 60, "block_size: expected a power of two"),
    ],
)
def test_direct_calls_cannot_read_out_of_bounds(position, value, message):
    library.load()
    arguments = [GOOD, GOOD, *BLOCKS.index_tensors, 64, 1.0]
    arguments[position] = value
    with pytest.raises(RuntimeError, match=message):
        torch.ops.spion_bench.block_sddmm(*arguments)
