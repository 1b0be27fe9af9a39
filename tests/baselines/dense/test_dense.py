import pytest
import torch

from baselines.dense import METHODS
from baselines.dense.eager import DenseEager
from baselines.dense.sdpa import DenseSdpa
from spion_bench.model.attention import SpionAttention

pytestmark = pytest.mark.parametrize("dense", [DenseSdpa, DenseEager])


@pytest.fixture
def qkv():
    torch.manual_seed(0)
    return tuple(
        torch.randn(2, 3, 24, 8, dtype=torch.float64, requires_grad=True) for _ in range(3)
    )


@pytest.fixture
def mask():
    mask = torch.ones(2, 24, dtype=torch.bool)
    mask[1, 15:] = False
    return mask


def by_hand(q, k, v, mask):
    weights = torch.exp(q @ k.transpose(-1, -2) / 8**0.5) * mask[:, None, None, :]
    return weights / weights.sum(-1, keepdim=True) @ v


def test_output_and_gradients_are_exact(dense, qkv, mask):
    out, expected = dense()(*qkv, mask), by_hand(*qkv, mask)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    weight = torch.randn_like(out)
    found = torch.autograd.grad((out * weight).sum(), qkv)
    wanted = torch.autograd.grad((expected * weight).sum(), qkv)
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)


def test_without_a_mask_every_key_counts(dense, qkv):
    full = torch.ones(2, 24, dtype=torch.bool)
    torch.testing.assert_close(dense()(*qkv), by_hand(*qkv, full), rtol=1e-12, atol=1e-12)


def test_a_sequence_of_padding_gives_zeros_and_no_gradient(dense, qkv, mask):
    mask[0] = False
    out = dense()(*qkv, mask)
    assert torch.equal(out[0], torch.zeros_like(out[0]))
    grads = torch.autograd.grad(out.sum(), qkv)
    assert all(torch.equal(grad[0], torch.zeros_like(grad[0])) for grad in grads)


def test_nan_is_not_hidden(dense, qkv):
    q, k, v = (x.detach().clone() for x in qkv)
    q[0, 0, 0, 0] = torch.nan
    assert dense()(q, k, v)[0, 0, 0].isnan().all()


def test_it_describes_itself(dense):
    assert dense.capabilities.exact
    assert dense.capabilities.backward
    assert all(caveat for caveat in dense.caveats)
    assert not list(dense().parameters())


def test_what_shares_spions_prefix_is_its_dense_phase_bit_for_bit(dense, qkv, mask):
    shares = {m.factory: m.shares_prefix for m in METHODS}[f"{dense.__module__}:{dense.__name__}"]
    assert shares == (dense is DenseSdpa)
    equal = torch.equal(dense()(*qkv, mask), SpionAttention("zero_logit")(*qkv, mask))
    assert equal or not shares
