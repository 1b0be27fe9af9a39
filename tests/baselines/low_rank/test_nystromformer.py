import importlib.util

import pytest
import torch
from torch.nn.functional import conv1d

from baselines.low_rank.nystromformer import Nystromformer, pseudo_inverse
from spion_bench.model.attention import dense_attention
from spion_bench.passes.gate.oracle import GateSetup
from spion_bench.passes.gate.properties import check_properties
from tests.baselines.oracle import draw, padding

HAS_TRANSFORMERS = importlib.util.find_spec("transformers") is not None


def test_the_iteration_finds_the_inverse():
    torch.manual_seed(0)
    matrix = (4 * torch.eye(8) + torch.randn(3, 2, 8, 8)).double().softmax(dim=-1)
    torch.testing.assert_close(
        pseudo_inverse(matrix), torch.linalg.inv(matrix), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("is_padded", [False, True])
def test_with_a_landmark_per_token_it_is_dense_attention(is_padded):
    inputs = draw(24)
    mask = padding(24, 20, 24) if is_padded else None
    expected = dense_attention(*inputs, mask)
    torch.testing.assert_close(Nystromformer(landmarks=24)(*inputs, mask), expected)


def test_equal_runs_of_tokens_lose_nothing():
    # Where every run holds one token four times, its mean is that token.
    q, k, v = (x.repeat_interleave(4, dim=2) for x in draw(8))
    q = 3 * q  # a sharp softmax, so six steps suffice
    out = Nystromformer(landmarks=8)(q, k, v)
    torch.testing.assert_close(out, dense_attention(q, k, v), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("length", [64, 50], ids=["whole runs", "odd length"])
def test_padding_changes_nothing(length):
    q, k, v = draw(length)
    mask = padding(length, 40, length)
    attention = Nystromformer(landmarks=16, filter_size=3).double()
    other = [torch.where(mask[:, None, :, None], x, 9.0) for x in (q, k, v)]
    first, second = attention(q, k, v, mask), attention(*other, mask)
    real = mask[:, None, :, None].expand_as(first)
    torch.testing.assert_close(first[real], second[real])


def test_the_convolution_is_added():
    q, k, v = draw(32)
    with_filter = Nystromformer(landmarks=8, filter_size=5).double()
    lines = v.transpose(2, 3).flatten(0, 2)[:, None]
    expected = conv1d(lines, with_filter.filter[None, None], padding=2)
    added = with_filter(q, k, v) - Nystromformer(landmarks=8)(q, k, v)
    torch.testing.assert_close(added.transpose(2, 3).flatten(0, 2)[:, None], expected)


@pytest.mark.skipif(not HAS_TRANSFORMERS, reason="needs transformers, the extra hf")
def test_it_is_hugging_faces():
    from transformers import NystromformerConfig
    from transformers.models.nystromformer.modeling_nystromformer import (
        NystromformerSelfAttention,
    )

    heads, head_dim, length = 2, 8, 64
    config = NystromformerConfig(
        hidden_size=heads * head_dim,
        num_attention_heads=heads,
        num_landmarks=16,
        segment_means_seq_len=length,
        conv_kernel_size=5,
        attention_probs_dropout_prob=0.0,
    )
    theirs = NystromformerSelfAttention(config).double()
    theirs.init_option = "exact"  # the configuration cannot ask for it
    ours = Nystromformer(landmarks=16, filter_size=5).double()
    theirs.conv.weight.data[:] = ours.filter.data[:, None]
    x = torch.randn(3, length, heads * head_dim, dtype=torch.float64)
    q, k, v = (
        layer(x).unflatten(2, (heads, head_dim)).transpose(1, 2)
        for layer in (theirs.query, theirs.key, theirs.value)
    )
    expected = theirs(x)[0].unflatten(2, (heads, head_dim)).transpose(1, 2)
    torch.testing.assert_close(ours(q, k, v), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"landmarks": 0}, "landmarks: expected at least 1, got 0"),
        ({"filter_size": 4}, "filter_size: expected 0 or an odd number, got 4"),
    ],
)
def test_what_it_cannot_do_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Nystromformer(**arguments)


@pytest.mark.parametrize("filter_size", [0, 5])
def test_the_gate_is_open(filter_size):
    attention = Nystromformer(landmarks=16, filter_size=filter_size)
    assert check_properties(attention, GateSetup(2, 96, 16, masked=True)).reason is None
    assert attention.n_scores(96, 2) == 2 * (2 * 96 * 16 + 16 * 16)
    assert attention.n_scores(10, 2) == 200
