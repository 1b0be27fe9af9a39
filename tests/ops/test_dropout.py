import re

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from spion_bench.ops import dropout, reference


@pytest.mark.parametrize("shape", [(2, 32, 64), (3, 5, 7), (1,), (0, 4)])
@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_equals_the_reference_exactly(shape, seed):
    x = torch.randn(shape)
    got = dropout(x, p=0.3, seed=seed)
    assert got.shape == x.shape
    if x.numel():
        assert torch.equal(got, reference.dropout(x, p=0.3, seed=seed))


def test_keeps_the_expectation_and_differs_with_the_seed():
    x = torch.ones(3, 100, 64)
    first, second = dropout(x, p=0.25, seed=1), dropout(x, p=0.25, seed=2)
    deviation = (0.25 * 0.75 / x.numel()) ** 0.5
    assert (first == 0).float().mean().item() == pytest.approx(0.25, abs=5 * deviation)
    assert first.unique().tolist() == pytest.approx([0, 1 / 0.75])
    both = ((first == 0) & (second == 0)).float().mean().item()
    assert both == pytest.approx(0.25**2, abs=5 * deviation)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_types_drop_the_same(dtype):
    x = torch.randn(4, 33, 8)
    got = dropout(x.to(dtype), p=0.1, seed=3)
    assert got.dtype == dtype
    assert torch.equal(got == 0, dropout(x, p=0.1, seed=3) == 0)
    exact = torch.nn.functional.normalize(x, dim=0).to(dtype)  # p = 1/2 scales without rounding
    kept = dropout(exact, p=0.5, seed=3)
    assert torch.equal(kept[kept != 0], 2 * exact[kept != 0])


def test_gradient_is_the_same_mask_for_any_strides():
    x = torch.randn(6, 5, 40, dtype=torch.float64).transpose(0, 2).requires_grad_()
    out = dropout(x, p=0.4, seed=9)
    assert torch.equal(out.detach(), dropout(x.detach().contiguous(), p=0.4, seed=9))
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(grad, dropout(torch.ones_like(x), p=0.4, seed=9))


def test_a_recomputed_pass_drops_the_same():
    x = torch.randn(4, 32, 32, requires_grad=True)
    plain = dropout(x.sin(), p=0.2, seed=5).square()
    again = checkpoint(lambda y: dropout(y.sin(), p=0.2, seed=5).square(), x, use_reentrant=False)
    assert torch.equal(plain, again)
    expected, got = (torch.autograd.grad(out.sum(), x)[0] for out in (plain, again))
    assert torch.equal(expected, got)


def test_zero_probability_changes_nothing():
    x = torch.randn(3, 4)
    assert torch.equal(dropout(x, p=0.0, seed=0), x)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p": 1.0}, "dropout_p: expected 0 <= dropout_p <= 0.99998"),
        ({"seed": -1}, "dropout_seed: expected 0 <= dropout_seed < 2**63"),
        ({"x": torch.zeros(3, dtype=torch.int64)}, "x: expected float32 or float64"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        dropout(**({"x": torch.zeros(3), "p": 0.1, "seed": 0} | change))
