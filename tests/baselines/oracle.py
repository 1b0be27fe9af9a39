"""Dense masked attention, by hand: what exact methods are held to."""

import math

import torch


def draw(length, *, batch=2, heads=3, head_dim=8):
    """Return q, k and v in float64, ``[B, H, L, D]``, that ask for gradients."""
    size = (batch, heads, length, head_dim)
    return [torch.randn(size, dtype=torch.float64, requires_grad=True) for _ in "qkv"]


def masked_attention(q, k, v, keep, key_padding_mask=None):
    """Attend to the keys of ``keep`` (``[L, L]`` or ``[H, L, L]``); a row without any gives 0."""
    if key_padding_mask is not None:
        keep = keep & key_padding_mask[:, None, None, :]
    weights = torch.exp(q @ k.mT / math.sqrt(q.shape[-1])) * keep
    return weights / weights.sum(-1, keepdim=True).clamp(min=1e-300) @ v


def assert_exact(attention, length, keep, key_padding_mask=None, **shape):
    """Compare output and gradients with ``masked_attention`` in float64."""
    inputs = draw(length, **shape)
    out = attention(*inputs, key_padding_mask)
    expected = masked_attention(*inputs, keep, key_padding_mask)
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-12)
    weight = torch.randn_like(out)
    found = torch.autograd.grad(out, inputs, weight)
    wanted = torch.autograd.grad(expected, inputs, weight)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-11)


def padding(length, *lengths):
    """Return the bool ``[B, L]`` mask of sequences of so many tokens."""
    return torch.arange(length) < torch.tensor(lengths)[:, None]
