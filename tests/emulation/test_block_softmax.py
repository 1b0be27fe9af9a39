"""The CUDA source of block_softmax on the emulator, against oracle and CPU kernels."""

import math

import pytest
import torch

from spion_bench.ops import block_softmax, reference
from tests.budgets import assert_within_budget
from tests.emulation.pipeline_cases import CASES, DTYPES, emulated, operators, random_tiles, shifted
from tests.ops.cases import PRUNED


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("name", ["block_16", "block_32", "block_64", "block_128", "holes"])
def test_softmax_with_padding(name, pruned, dtype):
    def run(op, d):
        x = scores.detach().to(d).requires_grad_()
        probs, lse = op(x, case.pattern, pruned=pruned, key_padding_mask=mask)
        grads = (dprobs.to(d), dlse.to(lse.dtype))
        return probs.detach(), lse.detach(), *torch.autograd.grad((probs, lse), x, grads)

    case = CASES[name]
    mask = case.key_padding_mask()  # one item is padding only
    scores, dprobs = random_tiles(case, dtype, 3.0), random_tiles(case, dtype)
    dlse = torch.randn(case.batch, case.heads, case.pattern.length)
    got = emulated(run, block_softmax, dtype)
    low, oracle = (run(reference.block_softmax, d) for d in (dtype, torch.float64))
    for what, g, ref, exact in zip(("probs", "lse", "dscores"), got, low, oracle, strict=True):
        assert_within_budget(what, g, ref.to(g.dtype), exact)
    if pruned == "minus_inf":
        assert (got[0][-1] == 0).all()
        assert (got[1][-1] == math.inf).all()
        assert (got[2][-1] == 0).all()


@pytest.mark.parametrize("output", [0, 1])
def test_gradient_of_either_output_alone(output):
    case = CASES["block_16"]
    scores = random_tiles(case, torch.float32).requires_grad_()

    def gradient(op):
        result = op(scores, case.pattern, pruned="zero_logit")[output]
        return torch.autograd.grad((result * result).sum(), scores)[0]

    torch.testing.assert_close(emulated(gradient, block_softmax), gradient(block_softmax))


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_that_begin_anywhere(dtype):
    case = CASES["block_16"]
    scores, options = random_tiles(case, dtype), {"pruned": "minus_inf"}
    mask = torch.rand(2, 2 * case.pattern.length)[:, ::2] > 0.3
    got = emulated(block_softmax, shifted(scores), case.pattern, key_padding_mask=mask, **options)
    mask = mask.contiguous()
    expected = emulated(block_softmax, scores, case.pattern, key_padding_mask=mask, **options)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("pruned", PRUNED)
def test_large_scores_neither_overflow_nor_vanish(pruned):
    case = CASES["block_16"]
    scores = random_tiles(case, torch.float32, 1e4)
    probs, lse = emulated(block_softmax, scores, case.pattern, pruned=pruned)
    args = (scores, case.pattern)
    low = reference.block_softmax(*args, pruned=pruned)
    exact = reference.block_softmax(scores.double(), case.pattern, pruned=pruned)
    assert_within_budget("probs", probs, low[0], exact[0])
    assert_within_budget("lse", lse, low[1], exact[1])


def test_lists_that_are_none_are_refused():
    crow = torch.tensor([0, 1, 2], dtype=torch.int32)
    tiles = torch.zeros(1, 1, 2, 16, 16)
    with pytest.raises(RuntimeError, match="crow_indices: expected to rise from 0 to"):
        operators().block_softmax_backward(tiles, None, tiles, crow - 1, 16)
    dlse = torch.zeros(1, 1, 32, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="dlse: expected float"):
        operators().block_softmax_backward(tiles, dlse, tiles, crow, 16)


def test_opcheck():
    case = CASES["holes"]
    pattern, dtype = case.pattern, torch.float16
    tiles = random_tiles(case, dtype).requires_grad_()
    rows, size = (pattern.crow_indices, pattern.col_indices), pattern.block_size
    args = (tiles, *rows, size, True, case.key_padding_mask())
    torch.library.opcheck(operators().block_softmax.default, args)
    lse = torch.randn(case.batch, case.heads, pattern.length)
    plain = tiles.detach()
    args = (plain, lse, plain, rows[0], size)
    torch.library.opcheck(operators().block_softmax_backward.default, args)
