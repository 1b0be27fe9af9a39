from dataclasses import replace

import pytest
import torch

from spion_bench.model.attention import Attention, dense_attention
from spion_bench.passes.gate.oracle import GateSetup
from spion_bench.passes.gate.properties import check_properties

PLAIN = GateSetup(heads=2, length=64, head_dim=8, masked=False)
MASKED = GateSetup(heads=2, length=64, head_dim=8, masked=True)


class Sampled(Attention):
    """Not exact: every query sees every fourth key only; what it sees depends on nothing."""

    def forward(self, q, k, v, key_padding_mask=None):
        keep = None if key_padding_mask is None else key_padding_mask[:, ::4]
        return self.distort(dense_attention(q, k[:, :, ::4], v[:, :, ::4], keep))

    def distort(self, out):
        return out


class TooLarge(Sampled):
    def distort(self, out):
        return out * 1.001


class Random(Sampled):
    def distort(self, out):
        return out + 1e-3 * torch.randn(out.shape, generator=GENERATOR)


class Reseeding(Sampled):
    def distort(self, out):
        torch.manual_seed(0)
        return out


class WrongGradient(Sampled):
    def distort(self, out):
        return out + 1e-3 * (out - out.detach())


class NotFinite(Sampled):
    def forward(self, q, k, v, key_padding_mask=None):
        return super().forward(q, k, v, key_padding_mask) + 0 * (q - q).sqrt()


class SeesPadding(Sampled):
    def forward(self, q, k, v, key_padding_mask=None):
        return super().forward(q, k, v)


GENERATOR = torch.Generator().manual_seed(0)


@pytest.mark.parametrize("shape", [PLAIN, MASKED], ids=["plain", "masked"])
def test_an_approximation_with_the_properties_passes(shape):
    result = check_properties(Sampled(), shape)
    assert result.reason is None
    names = {"weights_sum", "repeat", "dv"} | ({"padding"} if shape.masked else set())
    assert {error.name for error in result.errors} == names
    assert all(error.is_within and error.budget for error in result.errors)
    assert not result.severity[0]


@pytest.mark.parametrize(
    ("attention", "shape", "message"),
    [
        (TooLarge, PLAIN, "weights_sum is off"),
        (Random, PLAIN, "repeat is off"),
        (Reseeding, PLAIN, "it changes torch's global random state"),
        (WrongGradient, PLAIN, "dv is off"),
        (NotFinite, PLAIN, "dq is not finite"),
        (SeesPadding, MASKED, "padding is off"),
    ],
)
def test_each_lost_property_is_named(attention, shape, message):
    assert message in check_properties(attention(), shape).reason


def test_a_method_without_backward_pass_is_checked_forward():
    class ForwardOnly(Sampled):
        def distort(self, out):
            assert not out.requires_grad
            return out

    result = check_properties(ForwardOnly(), replace(PLAIN, forward_only=True))
    assert result.reason is None
    assert "dv" not in {error.name for error in result.errors}
