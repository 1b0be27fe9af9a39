import importlib.util
import math
import random

import numpy as np
import pytest
import torch

from baselines.hugging_face.modules import Given, merge_heads
from baselines.hugging_face.reformer import ReformerHF
from baselines.lsh.reformer import Reformer
from tests.baselines.oracle import draw, padding

CHUNK = 16


def shared_scores(q, k):
    """Return the scores of the shared tensor with its keys of length 1, and the self rule."""
    shared = (q + k) / math.sqrt(2)
    keys = shared / torch.sqrt(shared.square().sum(-1, keepdim=True) + 1e-6 * shared.shape[-1])
    return shared @ keys.mT - 1e5 * torch.eye(q.shape[2], dtype=q.dtype)


def by_hand(attention, q, k, v, mask):
    """Attend round by round over a dense mask of chunks, and combine rounds by denominators."""
    batch, heads, length, _ = q.shape
    scores = shared_scores(q, k)
    shared = ((q + k) * 0.5**0.5).detach().flatten(0, 1)
    extra = torch.zeros(batch * heads, -length % CHUNK, shared.shape[2], dtype=shared.dtype)
    buckets = attention.buckets(torch.cat([shared, extra], dim=1), heads)[:, :, :length]
    buckets = buckets.unflatten(0, (batch, heads))
    real = torch.ones(batch, length, dtype=torch.bool) if mask is None else mask
    n_chunks = -(-length // CHUNK)
    outs, logs = [], []
    for turn in range(attention.n_hashes):
        bucket = buckets[:, :, turn].masked_fill(~real[:, None], 10**6)
        place = (bucket * length + torch.arange(length)).argsort(dim=-1).argsort(dim=-1)
        back = (place[..., :, None] // CHUNK - place[..., None, :] // CHUNK) % n_chunks
        keep = (back <= 1) & real[:, None, None, :]
        weights = torch.exp(scores.masked_fill(~keep, -math.inf))
        total = weights.sum(-1, keepdim=True)
        # A token that sees nothing but itself: exp(-1e5) is 0 in float64 too.
        alone = (keep.sum(-1) == 1) & keep.diagonal(dim1=-2, dim2=-1)
        assert not alone.any()
        outs.append(weights / total.clamp(min=1e-300) @ v)
        logs.append(total.squeeze(-1).clamp(min=1e-300).log())
    share = torch.stack(logs).softmax(dim=0)[..., None]
    return (share * torch.stack(outs)).sum(dim=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bits_come_out_as_they_went_in(dtype):
    q, k, v = (x.to(dtype) for x in draw(128))
    assert Reformer(CHUNK, 2, layer=0)(q, k, v).dtype == dtype


@pytest.mark.parametrize("length", [128, 150], ids=["whole chunks", "odd length"])
@pytest.mark.parametrize("n_hashes", [1, 2, 3])
@pytest.mark.parametrize("is_padded", [False, True])
def test_it_attends_within_chunks_of_the_sorted_order(length, n_hashes, is_padded):
    mask = padding(length, length, 100) if is_padded else None
    attention = Reformer(CHUNK, n_hashes, layer=1)
    inputs = draw(length)
    out, expected = attention(*inputs, mask), by_hand(attention, *inputs, mask)
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-10)
    weight = torch.randn_like(out)
    found = torch.autograd.grad(out, inputs, weight)
    wanted = torch.autograd.grad(expected, inputs, weight)
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("length", [10, CHUNK, 2 * CHUNK])
@pytest.mark.parametrize("n_hashes", [1, 2])
def test_up_to_two_chunks_it_is_dense_attention_to_all_others(length, n_hashes):
    q, k, v = draw(length)
    mask = padding(length, length, 7)
    expected = shared_scores(q, k).masked_fill(~mask[:, None, None, :], -math.inf).softmax(-1) @ v
    found = Reformer(CHUNK, n_hashes)(q, k, v, mask)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def test_a_token_sees_itself_only_if_it_sees_nothing_else():
    q, k, v = draw(CHUNK, batch=1)
    alone = Reformer(CHUNK)(q, k, v, padding(CHUNK, 1))
    torch.testing.assert_close(alone[:, :, 0], v[:, :, 0])
    two = Reformer(CHUNK)(q, k, v, padding(CHUNK, 2))
    torch.testing.assert_close(two[:, :, :2], v[:, :, :2].flip(2))


def test_it_is_not_causal():
    q, k, v = draw(128)
    out = Reformer(CHUNK)(q, k, v)
    (grad,) = torch.autograd.grad(out[:, :, :64].sum(), v)
    assert grad[:, :, 64:].abs().sum() > 0


def test_similar_tokens_meet():
    # Two kinds of tokens, alternating: sorted by bucket, each kind stands together.
    kinds = torch.randn(2, 8, dtype=torch.float64)
    x = kinds.repeat(64, 1)[None, None] * 3
    v = torch.eye(2, dtype=torch.float64).repeat(64, 1)[None, None]
    v = torch.cat([v, torch.zeros(1, 1, 128, 6, dtype=torch.float64)], dim=-1)
    out = Reformer(CHUNK)(x, x, v)
    assert ((out - v).abs() < 0.2).double().mean() > 0.9


def test_what_padding_holds_changes_nothing():
    q, k, v = (x.detach() for x in draw(150))
    mask = padding(150, 150, 90)
    out = Reformer(CHUNK)(q, k, v, mask)
    hidden = mask[:, None, :, None]
    q, k, v = (torch.where(hidden, x, torch.randn_like(x)) for x in (q, k, v))
    changed = Reformer(CHUNK)(q, k, v, mask)
    real = hidden.expand_as(out)
    assert torch.equal(out[real], changed[real])


def test_a_sequence_of_padding_gives_zeros_and_no_gradient():
    q, k, v = draw(64)
    out = Reformer(CHUNK)(q, k, v, padding(64, 0, 64))
    assert not out[0].any()
    assert not any(grad[0].any() for grad in torch.autograd.grad(out.sum(), (q, k, v)))


def test_hashes_are_fixed_by_seed_and_layer_and_leave_global_states_alone():
    q, k, v = (x.detach() for x in draw(256))
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    first = Reformer(CHUNK, layer=1)
    out = first(q, k, v)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]
    assert torch.equal(first.eval()(q, k, v), out)
    assert torch.equal(Reformer(CHUNK, layer=1)(q, k, v), out)
    assert not torch.equal(Reformer(CHUNK, layer=0)(q, k, v), out)
    assert not torch.equal(Reformer(CHUNK, layer=1, seed=1)(q, k, v), out)


@pytest.mark.parametrize(
    ("length", "factors"), [(64, [2]), (1024, [32]), (2048, [64]), (4096, [8, 16])]
)
def test_buckets_are_two_per_chunk(length, factors):
    attention = Reformer(64)
    assert attention.factors(length) == factors
    buckets = attention.buckets(torch.randn(2, length, 32), heads=2)
    assert buckets.shape == (2, 2, length)
    assert buckets.min() >= 0
    assert buckets.max() < math.prod(factors)
    assert len(buckets.unique()) == math.prod(factors)


def test_more_rounds_come_closer_to_dense_attention():
    q, k, v = (x.detach() for x in draw(256, batch=1))
    q = k = 2 * q
    exact = shared_scores(q, k).softmax(-1) @ v

    def error(n_hashes):
        return float((Reformer(CHUNK, n_hashes)(q, k, v) - exact).square().mean())

    assert error(8) < 0.7 * error(1)


@pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None,
    reason="transformers is not installed; pip install 'spion_bench[hf]'",
)
def test_it_is_hugging_faces_function_in_one_round_of_the_same_hashes():
    x, _, v = (x.detach().float() for x in draw(128))
    ours = Reformer(CHUNK, n_hashes=1)
    half = x / math.sqrt(2)  # q and k of the same shared tensor
    theirs = ReformerHF(CHUNK, n_hashes=1)
    theirs(x, x, v)  # builds the module
    theirs.module.value = Given(merge_heads(v))
    buckets = ours.buckets(x.flatten(0, 1), heads=3).view(2, 3, 128)
    expected = theirs.module(merge_heads(x), buckets=buckets).hidden_states
    out = merge_heads(ours(half, half, v))
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["chunk", "n_hashes"])
def test_wrong_arguments_are_named(name):
    with pytest.raises(ValueError, match=f"{name}: expected at least 1"):
        Reformer(**{name: 0})
