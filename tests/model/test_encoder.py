import json
from pathlib import Path

import pytest
import torch
from torch import nn

from spion_bench.model.attention import Attention, dense_attention
from spion_bench.model.encoder import Encoder, mean_pool
from spion_bench.records.settings import ModelConfig

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "golden.json").read_text())


class Recorder(Attention):
    """Dense attention that keeps the mask it was given."""

    def __init__(self):
        super().__init__()
        self.mask = None
        self.shape = None

    def forward(self, q, k, v, key_padding_mask=None):
        self.mask = key_padding_mask
        self.shape = tuple(q.shape)
        return dense_attention(q, k, v, key_padding_mask)


class WithParameters(Attention):
    """A method that draws weights of its own when it is built."""

    def __init__(self):
        super().__init__()
        self.extra = nn.Linear(3, 3)


def config(**changes):
    values = {
        "layers": 2,
        "embedding_dim": 12,
        "hidden_dim": 20,
        "heads": 2,
        "head_dim": 4,
        "dropout": 0.1,
        "vocab_size": 9,
        "max_length": 10,
        "n_classes": 3,
        "two_towers": False,
        "mask_attention": True,
        "mask_pooling": True,
    }
    return ModelConfig(**{**values, **changes})


@pytest.fixture
def tokens():
    return torch.tensor([[3, 1, 4, 1, 5, 0, 0, 0], [2, 7, 1, 8, 2, 8, 1, 8]])


def encoder(**changes):
    torch.manual_seed(0)
    return Encoder(config(**changes), lambda layer: Recorder()).eval()


def reference(model, tokens):
    """The published model, layer by layer, in plain tensor operations (no dropout)."""
    cfg = model.config
    is_token = (tokens != 0).float()
    x = model.word_embedding.weight[tokens] + model.position_embedding.weight[: tokens.shape[1]]
    for layer in model.layers:
        normed = nn.functional.layer_norm(x, x.shape[-1:], *layer.attention_norm.parameters())
        heads = []
        for head in range(cfg.heads):
            first_rows = (part * cfg.heads * cfg.head_dim for part in range(3))  # of q, k, v
            rows = [
                slice(first + head * cfg.head_dim, first + (head + 1) * cfg.head_dim)
                for first in first_rows
            ]
            weight, bias = layer.qkv.weight, layer.qkv.bias
            q, k, v = (normed @ weight[part].T + bias[part] for part in rows)
            scores = q @ k.transpose(1, 2) / cfg.head_dim**0.5
            if cfg.mask_attention:
                scores = scores - 1e9 * (1 - is_token[:, None, :])
            heads.append(scores.softmax(-1) @ v)
        x = x + torch.cat(heads, -1) @ layer.attention_out.weight.T + layer.attention_out.bias
        normed = nn.functional.layer_norm(x, x.shape[-1:], *layer.feed_forward_norm.parameters())
        hidden = normed @ layer.feed_forward_in.weight.T + layer.feed_forward_in.bias
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        x = x + hidden @ layer.feed_forward_out.weight.T + layer.feed_forward_out.bias
    x = nn.functional.layer_norm(x, x.shape[-1:], *model.final_norm.parameters())
    if cfg.mask_pooling:
        x = x * is_token[:, :, None]
    return x.sum(1) / tokens.shape[1]


@pytest.mark.parametrize("mask_attention", [True, False])
@pytest.mark.parametrize("mask_pooling", [True, False])
def test_encoder_is_the_published_one(tokens, mask_attention, mask_pooling):
    model = encoder(mask_attention=mask_attention, mask_pooling=mask_pooling)
    torch.testing.assert_close(model(tokens), reference(model, tokens), rtol=1e-5, atol=1e-6)


def test_mean_pool_divides_by_all_positions():
    case = next(c for c in GOLDEN["cases"] if c["id"] == "mean_pooling")
    x, mask = torch.tensor([case["inputs"]["x"]]), torch.tensor([case["inputs"]["mask"]]).bool()
    expected = torch.tensor([case["expected"]["pooled"]])
    torch.testing.assert_close(mean_pool(x, mask), expected, rtol=0, atol=case["tolerance"])
    torch.testing.assert_close(mean_pool(x, None), x.mean(1))


def test_attention_gets_heads_and_the_mask_of_real_tokens(tokens):
    model = encoder()
    model(tokens)
    attention = model.layers[1].attention
    assert attention.shape == (2, 2, 8, 4)
    assert torch.equal(attention.mask, tokens != 0)


def test_unmasked_attention_gets_no_mask(tokens):
    model = encoder(mask_attention=False)
    model(tokens)
    assert model.layers[0].attention.mask is None


def test_embeddings_start_with_standard_deviation_0_02():
    torch.manual_seed(1)
    model = Encoder(config(vocab_size=500, max_length=500, embedding_dim=64), lambda i: Recorder())
    for embedding in (model.word_embedding, model.position_embedding):
        assert embedding.weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert embedding.weight.mean().item() == pytest.approx(0, abs=5e-4)


def test_methods_that_draw_weights_leave_the_other_weights_alone():
    torch.manual_seed(5)
    plain = Encoder(config(), lambda i: Recorder()).state_dict()
    after_plain = torch.rand(3)
    torch.manual_seed(5)
    drawing = Encoder(config(), lambda i: WithParameters()).state_dict()
    assert torch.equal(torch.rand(3), after_plain)
    assert any("extra" in name for name in drawing)
    for name, weight in plain.items():
        assert torch.equal(weight, drawing[name]), name


def test_dropout_only_in_training(tokens):
    model = encoder(dropout=0.5)
    assert torch.equal(model(tokens), model(tokens))
    model.train()
    assert not torch.equal(model(tokens), model(tokens))


def test_shorter_sequences_are_welcome_longer_ones_are_not(tokens):
    model = encoder()
    assert model(tokens[:, :3]).shape == (2, 12)
    with pytest.raises(ValueError, match="at most max_length=10 positions, got 11"):
        model(torch.ones(1, 11, dtype=torch.int64))


def training_encoder(**changes):
    torch.manual_seed(0)
    return Encoder(config(dropout=0.3, **changes), lambda layer: Recorder()).train()


def test_dropout_follows_the_random_state(tokens):
    model = training_encoder()
    state = torch.get_rng_state()
    first, second = model(tokens), model(tokens)
    assert not torch.equal(first, second)
    torch.set_rng_state(state)
    assert torch.equal(model(tokens), first)
    assert torch.equal(model(tokens), second)


def test_no_two_dropouts_of_a_pass_share_a_seed(tokens, monkeypatch):
    seeds = []
    monkeypatch.setattr(
        "spion_bench.model.encoder.dropout", lambda x, *, p, seed: seeds.append((p, seed)) or x
    )
    training_encoder(layers=3)(tokens)
    assert [p for p, _ in seeds] == [0.3] * 10
    assert len(set(seeds)) == 10


def test_evaluation_drops_nothing_and_draws_nothing(tokens):
    model = encoder()
    state = torch.get_rng_state()
    assert torch.equal(model(tokens), model(tokens))
    assert torch.equal(torch.get_rng_state(), state)


def test_heads_are_views_of_one_product(tokens):
    model = encoder()
    seen = []
    model.layers[0].attention.register_forward_hook(lambda _, inputs, out: seen.append(inputs))
    model(tokens)
    q, k, v, _ = seen[0]
    assert q.data_ptr() + 4 * 2 * 4 == k.data_ptr()  # after the 2 heads of 4 floats
    assert q.stride() == k.stride() == v.stride() == (8 * 24, 4, 24, 1)
