import torch

from baselines.control.controls import MeanAttention, NoAttention
from spion_bench.passes.gate.oracle import GateSetup
from spion_bench.passes.gate.properties import check_properties
from tests.baselines.oracle import draw, padding


def test_no_attention_returns_zeros_and_gives_every_projection_a_gradient():
    inputs = [x.requires_grad_() for x in draw(40)]
    out = NoAttention()(*inputs)
    assert out.shape == inputs[0].shape
    assert not out.any()
    grads = torch.autograd.grad(out, inputs, torch.randn_like(out))
    assert [grad.shape for grad in grads] == [x.shape for x in inputs]
    assert not any(grad.any() for grad in grads)


def test_mean_attention_is_dense_attention_of_equal_scores():
    q, k, v = draw(40)
    same = torch.zeros_like(q)
    mask = padding(40, 30, 7)
    for given in (None, mask):
        bias = None if given is None else given[:, None, None, :]
        expected = torch.nn.functional.scaled_dot_product_attention(same, same, v, attn_mask=bias)
        torch.testing.assert_close(MeanAttention()(q, k, v, given), expected)


def test_a_sequence_of_padding_has_no_mean():
    out = MeanAttention()(*draw(16), padding(16, 0, 16))
    assert not out[0].any()
    assert out[1].any()


def test_the_gate_is_open_to_both():
    for attention in (NoAttention(), MeanAttention()):
        assert check_properties(attention, GateSetup(2, 96, 16, masked=True)).reason is None
        assert attention.n_scores(96, 2) == 0


def test_the_mean_of_a_long_sequence_does_not_overflow_in_16_bits():
    v = torch.full((1, 1, 4096, 8), 20.0, dtype=torch.float16)
    mask = torch.ones(1, 4096, dtype=torch.bool)
    for given in (None, mask):
        assert torch.equal(MeanAttention()(v, v, v, given), v)
