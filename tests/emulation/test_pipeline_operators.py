"""The pipeline's operators one by one, on the emulator, against oracle and CPU kernels."""

import math

import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.native import library
from spion_bench.ops import block_dropout, block_sddmm, block_softmax, block_spmm, reference
from tests.budgets import assert_within_budget
from tests.emulation.pipeline_cases import CASES, DTYPES, emulated, random_tiles
from tests.ops.cases import PRUNED

OPERATORS = [
    name for name in library.OPERATORS if name.startswith("block_") and "attention" not in name
]

# The first test of a fresh checkout waits for the compiler.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(autouse=True, scope="module")
def _loaded():
    library.EMULATED.load()  # some tests call torch.ops without a Python face


def check(name, got, op, *args, **options):
    """Compare ``got`` with an operator of ``reference``, run in its own dtype and in float64."""
    dtype = got.dtype
    low, exact = (
        op(*[x.to(d) if x.is_floating_point() else x for x in args], **options)
        for d in (args[0].dtype, torch.float64)
    )
    assert_within_budget(name, got, low.to(dtype), exact)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["block_16", "block_128", "width_40", "holes"])
def test_products(name, dtype):
    case = CASES[name]
    pattern, (q, k, v) = case.pattern, case.inputs(dtype)
    probs = random_tiles(case, dtype)
    scores = emulated(block_sddmm, q, k, pattern, scale=-0.3)
    check("scores", scores, reference.block_sddmm, q, k, pattern=pattern, scale=-0.3)
    out = emulated(block_spmm, probs, v, pattern)
    check("out", out, reference.block_spmm, probs, v, pattern=pattern)
    words = (pattern.t_crow_indices, pattern.t_row_indices, pattern.t_tile_indices)
    transposed = torch.ops.spion_bench_emulated.block_spmm_transposed(
        probs, v, *words, pattern.block_size
    )
    check("transposed", transposed, reference.block_spmm_transposed, probs, v, pattern=pattern)


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
def test_gradient_of_either_output_of_the_softmax_alone(output):
    case = CASES["block_16"]
    scores = random_tiles(case, torch.float32).requires_grad_()

    def gradient(op):
        result = op(scores, case.pattern, pruned="zero_logit")[output]
        return torch.autograd.grad((result * result).sum(), scores)[0]

    torch.testing.assert_close(emulated(gradient, block_softmax), gradient(block_softmax))


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


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_that_begin_anywhere(dtype):
    case = CASES["block_16"]
    pattern, (_, _, v) = case.pattern, case.inputs(dtype)
    probs = random_tiles(case, dtype)
    shifted_probs, shifted_v = (
        torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape) for x in (probs, v)
    )
    out = emulated(block_spmm, shifted_probs, shifted_v, pattern)
    assert torch.equal(out, emulated(block_spmm, probs, v, pattern))
    mask = torch.rand(2, 2 * pattern.length)[:, ::2] > 0.3
    options = {"pruned": "minus_inf"}
    got = emulated(block_softmax, shifted_probs, pattern, key_padding_mask=mask, **options)
    mask = mask.contiguous()
    expected = emulated(block_softmax, probs, pattern, key_padding_mask=mask, **options)
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


@pytest.mark.usefixtures("tf32_setting")
def test_tf32_is_for_those_who_ask_torch_for_it():
    case = CASES["width_64"]
    q, k, v = case.inputs(torch.float32)
    probs = random_tiles(case, torch.float32)
    exact = (
        reference.block_sddmm(q.double(), k.double(), case.pattern, scale=1.0),
        reference.block_spmm(probs.double(), v.double(), case.pattern),
    )
    errors = []
    for allowed in (False, True):
        torch.backends.cuda.matmul.allow_tf32 = allowed
        got = (
            emulated(block_sddmm, q, k, case.pattern, scale=1.0),
            emulated(block_spmm, probs, v, case.pattern),
        )
        errors.append(
            [((g - e).abs().max() / e.abs().max()).item() for g, e in zip(got, exact, strict=True)]
        )
    assert max(errors[0]) < 2e-6
    assert min(errors[1]) > 1e-5
    assert max(errors[1]) < 2**-9


@pytest.mark.parametrize(
    ("shape", "dtype", "block_size", "error", "message"),
    [
        ((1, 1, 32, 32), torch.float64, 16, ValueError, "q: expected float32 or float16 or bfl"),
        ((1, 1, 32, 32), torch.float32, 8, RuntimeError, "block_size: expected 16, 32, 64 or 128"),
        ((1, 1, 32, 136), torch.float32, 16, RuntimeError, "q: expected a head width up to 128"),
    ],
)
def test_what_the_kernels_lack_is_refused(shape, dtype, block_size, error, message):
    q = torch.zeros(shape, dtype=dtype)
    with pytest.raises(error, match=message):
        emulated(block_sddmm, q, q, BlockPattern.full(32, block_size), scale=1.0)


def test_lists_that_are_none_are_refused():
    ops = torch.ops.spion_bench_emulated
    crow, col = (torch.tensor(x, dtype=torch.int32) for x in ([0, 1, 2], [0, 2]))
    x, tiles = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 2, 16, 16)
    with pytest.raises(RuntimeError, match="col_indices: expected values from 0 to 1"):
        ops.block_sddmm(x, x, crow, col, crow, col, col, 16, 1.0)
    with pytest.raises(RuntimeError, match="crow_indices: expected to rise from 0 to"):
        ops.block_softmax_backward(tiles, None, tiles, crow - 1, 16)
    good = torch.tensor([0, 1], dtype=torch.int32)
    with pytest.raises(RuntimeError, match="t_tile_indices: expected values from 0 to 1"):
        ops.block_spmm_transposed(tiles, x, crow, good, col, 16)
    dlse = torch.zeros(1, 1, 32, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="dlse: expected float"):
        ops.block_softmax_backward(tiles, dlse, tiles, crow, 16)


@pytest.mark.parametrize("name", OPERATORS)
def test_opcheck(name):
    case = CASES["holes"]
    pattern, dtype = case.pattern, torch.float16
    q, k, v = (x.requires_grad_() for x in case.inputs(dtype))
    tiles = random_tiles(case, dtype).requires_grad_()
    rows = (pattern.crow_indices, pattern.col_indices)
    columns = (pattern.t_crow_indices, pattern.t_row_indices, pattern.t_tile_indices)
    size, lse = pattern.block_size, torch.randn(q.shape[:3])
    plain = tiles.detach()
    arguments = {
        "block_sddmm": (q, k, *pattern.words, size, 0.2),
        "block_softmax": (tiles, *rows, size, True, case.key_padding_mask()),
        "block_softmax_backward": (plain, lse, plain, rows[0], size),
        "block_spmm": (tiles, v, *pattern.words, size),
        "block_spmm_transposed": (plain, v.detach(), *columns, size),
        "block_dropout": (tiles, *rows, size, 0.1, 3),
    }
    op = getattr(torch.ops.spion_bench_emulated, name).default
    torch.library.opcheck(op, arguments[name])
