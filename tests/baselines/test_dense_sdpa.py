import pytest
import torch

from baselines.dense_sdpa import DenseSdpa
from spion_bench.model.attention import SpionAttention


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


def test_output_and_gradients_are_exact(qkv, mask):
    out, expected = DenseSdpa()(*qkv, mask), by_hand(*qkv, mask)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    weight = torch.randn_like(out)
    found = torch.autograd.grad((out * weight).sum(), qkv)
    wanted = torch.autograd.grad((expected * weight).sum(), qkv)
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)


def test_without_a_mask_every_key_counts(qkv):
    full = torch.ones(2, 24, dtype=torch.bool)
    torch.testing.assert_close(DenseSdpa()(*qkv), by_hand(*qkv, full), rtol=1e-12, atol=1e-12)


def test_a_sequence_of_padding_gives_zeros_and_no_gradient(qkv, mask):
    mask[0] = False
    out = DenseSdpa()(*qkv, mask)
    assert torch.equal(out[0], torch.zeros_like(out[0]))
    grads = torch.autograd.grad(out.sum(), qkv)
    assert all(torch.equal(grad[0], torch.zeros_like(grad[0])) for grad in grads)


def test_nan_is_not_hidden(qkv):
    q, k, v = (x.detach().clone() for x in qkv)
    q[0, 0, 0, 0] = torch.nan
    assert DenseSdpa()(q, k, v)[0, 0, 0].isnan().all()


def test_it_describes_itself():
    assert DenseSdpa.capabilities.exact
    assert DenseSdpa.capabilities.backward
    assert all(caveat for caveat in DenseSdpa.caveats)
    assert not list(DenseSdpa().parameters())


def test_it_is_spions_dense_phase_bit_for_bit(qkv, mask):
    spion = SpionAttention("zero_logit")
    assert torch.equal(DenseSdpa()(*qkv, mask), spion(*qkv, mask))
    assert DenseSdpa.shares_dense_prefix
