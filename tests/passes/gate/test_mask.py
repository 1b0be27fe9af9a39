import math

import pytest
import torch

from spion_bench.model.attention import Attention, Capabilities, dense_attention
from spion_bench.passes.gate import mask as gate_mask
from spion_bench.passes.gate.mask import check_own_mask, masked_attention_by_rows
from spion_bench.passes.gate.oracle import GateSetup

PLAIN = GateSetup(heads=3, length=48, head_dim=8, masked=False)
MASKED = GateSetup(heads=3, length=48, head_dim=8, masked=True)


class Triangle(Attention):
    """Each token sees itself and the tokens before it."""

    def token_mask(self, length, heads):
        return torch.ones(length, length, dtype=torch.bool).tril()

    def forward(self, q, k, v, key_padding_mask=None):
        keep = self.token_mask(q.shape[2], q.shape[1])
        if key_padding_mask is not None:
            keep = keep & key_padding_mask[:, None, None, :]
        scores = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~keep, -math.inf)
        return scores.softmax(-1) @ v


class ByHead(Triangle):
    """Every second head looks ahead instead."""

    def token_mask(self, length, heads):
        back = super().token_mask(length, heads)
        return torch.stack([back.mT if head % 2 else back for head in range(heads)])


class ZeroAtPadding(Triangle):
    """Its rows of padding are 0."""

    def forward(self, q, k, v, key_padding_mask=None):
        out = super().forward(q, k, v, key_padding_mask)
        return out if key_padding_mask is None else out * key_padding_mask[:, None, :, None]


class Dense(Attention):
    """Every token sees every token."""

    def forward(self, q, k, v, key_padding_mask=None):
        return dense_attention(q, k, v, key_padding_mask)


@pytest.fixture(autouse=True)
def _several_row_groups(monkeypatch):
    monkeypatch.setattr(gate_mask, "ROWS", 20)


@pytest.mark.parametrize("shape", [PLAIN, MASKED], ids=["plain", "masked"])
@pytest.mark.parametrize("attention", [Triangle, ByHead, Dense])
def test_a_method_that_keeps_to_its_mask_passes(shape, attention):
    result = check_own_mask(attention(), shape)
    assert result.reason is None
    dk = {error.name: error for error in result.errors}["dk"]
    assert 0 < dk.error <= dk.budget < 1e-5


@pytest.mark.parametrize("shape", [PLAIN, MASKED], ids=["plain", "masked"])
def test_a_method_that_sees_more_than_its_mask_fails(shape):
    class TooMuch(Dense):
        token_mask = Triangle.token_mask

    assert "out is off by" in check_own_mask(TooMuch(), shape).reason


def test_one_missing_key_fails():
    class Short(Triangle):
        def forward(self, q, k, v, key_padding_mask=None):
            real = torch.ones(q.shape[0], q.shape[2], dtype=torch.bool)
            real[:, 5] = False
            real[:, :2] = True
            return super().forward(q, k, v, real)

    assert check_own_mask(Short(), PLAIN).reason is not None


def test_rows_of_padding_count_unless_the_method_has_none():
    assert check_own_mask(ZeroAtPadding(), MASKED).reason is not None
    ZeroAtPadding.capabilities = Capabilities(padded_rows=False)
    assert check_own_mask(ZeroAtPadding(), MASKED).reason is None


def test_a_method_of_16_bits_is_held_to_their_rounding():
    class Half(Triangle):
        def forward(self, q, k, v, key_padding_mask=None):
            half = (x.bfloat16() for x in (q, k, v))
            return super().forward(*half, key_padding_mask).to(q.dtype)

    assert check_own_mask(Half(), PLAIN).reason is not None
    Half.capabilities = Capabilities(computes_in=torch.bfloat16)
    assert check_own_mask(Half(), PLAIN).reason is None


def test_the_oracle_gives_0_to_rows_without_keys_and_ignores_what_is_left_out():
    q, k, v = (torch.randn(2, 1, 30, 4, dtype=torch.float64, requires_grad=True) for _ in "qkv")
    mask = torch.eye(30, dtype=torch.bool)
    real = torch.arange(30) < torch.tensor([[30], [11]])
    out = masked_attention_by_rows(q, k, v, mask, real)
    torch.testing.assert_close(out, v * real[:, None, :, None])
    dq, dk, dv = torch.autograd.grad(out.sum(), (q, k, v))
    torch.testing.assert_close(dv, real[:, None, :, None].double().expand_as(dv))
    assert dq.abs().max() < 1e-12
    assert dk.abs().max() < 1e-12
