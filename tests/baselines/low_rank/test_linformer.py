import pytest
import torch

from baselines.low_rank.linformer import Linformer
from spion_bench.model.attention import dense_attention
from spion_bench.passes.gate.oracle import GateSetup
from spion_bench.passes.gate.properties import check_properties
from tests.baselines.oracle import draw, padding


def test_queries_see_mixtures_of_keys_and_values():
    attention, (q, k, v) = Linformer(rank=8, length=50).double(), draw(50)
    mixed = [torch.einsum("rl,bhld->bhrd", attention.mixtures, x) for x in (k, v)]
    torch.testing.assert_close(attention(q, k, v), dense_attention(q, *mixed))


def test_with_a_mixture_per_token_it_is_dense_attention():
    attention, inputs = Linformer(rank=32, length=32).double(), draw(32)
    attention.mixtures.data = torch.eye(32, dtype=torch.float64)
    torch.testing.assert_close(attention(*inputs), dense_attention(*inputs))


def test_padding_is_in_no_mixture():
    attention, (q, k, v) = Linformer(rank=8, length=64).double(), draw(64)
    mask = padding(64, 40, 64)
    short = attention(q[:1, :, :40], k[:1, :, :40], v[:1, :, :40])
    torch.testing.assert_close(attention(q, k, v, mask)[:1, :, :40], short)


def test_the_mixtures_train():
    attention = Linformer(rank=4, length=32).double()
    attention(*draw(32)).square().sum().backward()
    assert attention.mixtures.grad.abs().min() > 0


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ValueError, match="rank: expected at least 1, got 0"):
        Linformer(rank=0)
    with pytest.raises(ValueError, match="at most length=16 tokens, got 17"):
        Linformer(rank=4, length=16)(*draw(17))


def test_the_gate_is_open():
    attention = Linformer(rank=16, length=96)
    assert check_properties(attention, GateSetup(2, 96, 16, masked=True)).reason is None
    assert attention.n_scores(96, 2) == 2 * 96 * 16
