import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import Attention, SpionAttention, dense_attention


@pytest.fixture
def qkv():
    torch.manual_seed(0)
    return tuple(torch.randn(2, 2, 32, 8) for _ in range(3))


@pytest.fixture
def mask():
    mask = torch.ones(2, 32, dtype=torch.bool)
    mask[1, 20:] = False
    return mask


def dense_probs(q, k, mask):
    scores = q.double() @ k.double().transpose(-1, -2) / q.shape[-1] ** 0.5
    return scores.masked_fill(~mask[:, None, None, :], -torch.inf).softmax(-1)


def test_dense_attention_gives_padded_keys_no_weight(qkv, mask):
    q, k, v = qkv
    expected = (dense_probs(q, k, mask) @ v.double()).float()
    torch.testing.assert_close(dense_attention(q, k, v, mask), expected, rtol=1e-5, atol=1e-6)


def test_without_a_pattern_spion_is_dense_attention_bit_for_bit(qkv, mask):
    assert torch.equal(SpionAttention("zero_logit")(*qkv, mask), dense_attention(*qkv, mask))


def test_a_full_pattern_is_dense_attention(qkv, mask):
    layer = SpionAttention("minus_inf", BlockPattern.full(32, 8))
    expected = dense_attention(*qkv, mask)
    torch.testing.assert_close(layer(*qkv, mask), expected, rtol=1e-5, atol=1e-6)


def test_zero_logit_counts_pruned_scores_as_zero(qkv):
    q, k, v = qkv
    pattern = BlockPattern.band(32, 8, 0)
    kept = pattern.to_token_mask()
    scores = (q.double() @ k.double().transpose(-1, -2) / 8**0.5).masked_fill(~kept, 0)
    expected = (scores.softmax(-1) * kept) @ v.double()
    out = SpionAttention("zero_logit", pattern)(q, k, v)
    torch.testing.assert_close(out, expected.float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pattern", [None, BlockPattern.band(32, 8, 1)], ids=["dense", "sparse"])
def test_map_is_the_dense_average_over_batch_and_heads(qkv, mask, pattern):
    q, k, v = qkv
    layer = SpionAttention("zero_logit", pattern)
    layer.watch()
    layer(q, k, v, mask)
    expected = dense_probs(q, k, mask).mean((0, 1)).float()
    torch.testing.assert_close(layer.take_map(), expected, rtol=1e-5, atol=1e-6)


def test_only_the_first_forward_pass_after_watch_is_watched(qkv):
    q, k, v = qkv
    layer = SpionAttention("zero_logit")
    layer.watch()
    layer(q, k, v)
    layer(k, q, v)
    first = SpionAttention("zero_logit")
    first.watch()
    first(q, k, v)
    assert torch.equal(layer.take_map(), first.take_map())
    with pytest.raises(RuntimeError, match="no forward pass was watched"):
        layer.take_map()


def test_a_method_must_define_forward(qkv):
    with pytest.raises(NotImplementedError, match="Attention must define forward"):
        Attention()(*qkv)


@pytest.mark.parametrize("pattern", [None, BlockPattern.full(48, 8)], ids=["dense", "sparse"])
def test_causal_grouped_queries_in_either_phase(qkv, mask, pattern):
    q, k, v = qkv
    k, v = k[:, :1], v[:, :1]
    layer = SpionAttention("minus_inf", pattern, causal=True)
    layer.watch()
    out = layer(q, k, v, mask)
    scores = q.double() @ k.double().mT / 8**0.5
    hidden = ~(mask[:, None, None, :] & torch.ones(32, 32, dtype=torch.bool).tril())
    probs = scores.masked_fill(hidden, -torch.inf).softmax(-1)
    torch.testing.assert_close(out, (probs @ v.double()).float(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(layer.take_map(), probs.mean((0, 1)).float(), rtol=1e-5, atol=1e-6)


def test_a_causal_layer_leaves_out_what_no_query_sees():
    layer = SpionAttention("zero_logit", BlockPattern.full(32, 8), causal=True)
    assert torch.equal(layer.pattern.to_mask(), torch.ones(4, 4, dtype=torch.bool).tril())
