import re

import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.native import library
from spion_bench.ops import block_dropout, reference
from tests.ops.cases import CASES

SEEDS = [0, 1, 2**32 - 1, 2**32, 2**63 - 1]  # both words of the key, and their borders


def ones(case, dtype):
    size = case.pattern.block_size
    return torch.ones(case.batch, case.heads, case.pattern.nnzb, size, size, dtype=dtype)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["block_8", "block_64", "holes", "packed", "empty", "no_batch"])
def test_equals_the_reference_exactly(name, dtype, seed):
    case = CASES[name]
    probs = ones(case, dtype) * torch.rand(())
    got = block_dropout(probs, case.pattern, p=0.3, seed=seed)
    assert torch.equal(got, reference.block_dropout(probs, case.pattern, p=0.3, seed=seed))


@pytest.mark.parametrize("p", [1 / 65536, 0.1, 0.5, 65535 / 65536])
def test_keeps_the_expectation(p):
    case = CASES["block_128"]
    dropped = block_dropout(ones(case, torch.float64), case.pattern, p=p, seed=5)
    kept = (dropped > 0).double().mean().item()
    n = dropped.numel()
    assert abs(kept - (1 - p)) < 5 * (p * (1 - p) / n) ** 0.5 + 1 / n
    scale = 65536 / (65536 - round(p * 65536))
    assert dropped.unique().tolist() == pytest.approx([0.0, scale], rel=1e-12)


def test_zero_probability_changes_nothing():
    case = CASES["block_8"]
    probs = torch.rand_like(ones(case, torch.float32))
    assert torch.equal(block_dropout(probs, case.pattern, p=0.0, seed=3), probs)


def test_gradient_is_the_same_mask():
    case = CASES["block_8"]
    probs = torch.rand_like(ones(case, torch.float64)).requires_grad_()
    out = block_dropout(probs, case.pattern, p=0.4, seed=9)
    (grad,) = torch.autograd.grad(out.sum(), probs)
    mask = block_dropout(torch.ones_like(probs), case.pattern, p=0.4, seed=9)
    assert torch.equal(grad, mask)
    assert torch.autograd.gradcheck(
        lambda x: block_dropout(x, case.pattern, p=0.4, seed=9), probs, fast_mode=True
    )


@pytest.mark.parametrize("name", ["holes", "no_batch"])
def test_opcheck(name):
    library.load()
    case = CASES[name]
    indices = (case.pattern.crow_indices, case.pattern.col_indices, case.pattern.block_size)
    torch.library.opcheck(
        torch.ops.spion_bench.block_dropout.default,
        (ones(case, torch.float32).requires_grad_(), *indices, 0.2, 4),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p": 1.0}, "dropout_p: expected 0 <= dropout_p <= 0.99998"),
        ({"seed": 2**63}, "dropout_seed: expected 0 <= dropout_seed < 2**63"),
        ({"probs": torch.zeros(1, 1, 1, 64, 64)}, "probs: expected [B, H, nnzb=2, S=64, S=64]"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {
        "probs": torch.zeros(1, 1, 2, 64, 64),
        "pattern": BlockPattern.band(128, 64, 0),
        "p": 0.1,
        "seed": 0,
    }
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        block_dropout(**(arguments | change))
