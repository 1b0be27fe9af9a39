import pytest
import torch

from spion_bench.model.attention import SpionAttention
from spion_bench.model.classifier import Classifier
from spion_bench.records.settings import ModelConfig

BASE = {
    "layers": 2,
    "embedding_dim": 64,
    "hidden_dim": 128,
    "heads": 2,
    "head_dim": 32,
    "dropout": 0.1,
    "vocab_size": 512,
    "max_length": 1024,
    "n_classes": 2,
    "two_towers": False,
    "mask_attention": True,
    "mask_pooling": True,
}
PUBLISHED = {
    "image": ({"vocab_size": 256, "n_classes": 10}, 158602),
    "pathfinder": ({}, 173954),
    "listops": ({"layers": 4, "vocab_size": 32, "max_length": 2048, "n_classes": 10}, 276746),
    "text": ({"max_length": 4096}, 370562),
    "retrieval": ({"max_length": 4096, "two_towers": True}, 395138),
}


def classifier(**changes):
    torch.manual_seed(0)
    return Classifier(ModelConfig(**{**BASE, **changes}), lambda i: SpionAttention("zero_logit"))


@pytest.fixture
def small():
    return {"embedding_dim": 8, "hidden_dim": 6, "head_dim": 4, "vocab_size": 9, "max_length": 16}


@pytest.mark.parametrize("task", PUBLISHED)
def test_parameter_count_is_the_published_one(task):
    changes, expected = PUBLISHED[task]
    model = classifier(**changes)
    assert model.parameter_count() == expected
    assert model.size_bytes() == 4 * expected


def test_head_of_one_sequence(small):
    model = classifier(**small, n_classes=3).eval()
    tokens = torch.randint(9, (5, 16))
    hidden = (model.encoder(tokens) @ model.head_in.weight.T + model.head_in.bias).clamp(min=0)
    expected = hidden @ model.head_out.weight.T + model.head_out.bias
    assert expected.shape == (5, 3)
    torch.testing.assert_close(model(tokens), expected)


def test_head_of_a_pair_sees_both_their_product_and_difference(small):
    model = classifier(**small, two_towers=True).eval()
    tokens = torch.randint(9, (5, 2, 16))
    a, b = model.encoder(tokens[:, 0]), model.encoder(tokens[:, 1])
    features = torch.cat([a, b, a * b, a - b], dim=1)
    hidden = (features @ model.head_in.weight.T + model.head_in.bias).clamp(min=0)
    expected = hidden @ model.head_out.weight.T + model.head_out.bias
    torch.testing.assert_close(model(tokens), expected)


def test_head_of_a_pair_may_see_the_two_vectors_only(small):
    model = classifier(**small, two_towers=True, pair_features="concatenated").eval()
    tokens = torch.randint(9, (5, 2, 16))
    features = torch.cat([model.encoder(tokens[:, 0]), model.encoder(tokens[:, 1])], dim=1)
    hidden = (features @ model.head_in.weight.T + model.head_in.bias).clamp(min=0)
    expected = hidden @ model.head_out.weight.T + model.head_out.bias
    torch.testing.assert_close(model(tokens), expected)


def test_map_of_a_pair_is_that_of_the_first_sequence(small):
    pair = classifier(**small, two_towers=True).eval()
    single = classifier(**small).eval()
    single.encoder.load_state_dict(pair.encoder.state_dict())
    tokens = torch.randint(1, 9, (5, 2, 16))
    maps = []
    for model, inputs in ((pair, tokens), (single, tokens[:, 0])):
        for layer in model.attention_layers():
            layer.watch()
        model(inputs)
        maps.append([layer.take_map() for layer in model.attention_layers()])
    for of_pair, of_first in zip(*maps, strict=True):
        assert torch.equal(of_pair, of_first)


def test_attention_layers_come_in_order(small):
    model = classifier(**small, layers=3)
    layers = model.attention_layers()
    assert len(layers) == 3
    assert layers[2] is model.encoder.layers[2].attention


@pytest.mark.parametrize(
    ("two_towers", "tokens"),
    [
        (False, torch.zeros(2, 16)),
        (False, torch.zeros(2, 2, 16, dtype=torch.int64)),
        (True, torch.zeros(2, 16, dtype=torch.int64)),
        (True, torch.zeros(2, 3, 16, dtype=torch.int64)),
    ],
    ids=["float", "pair for one tower", "one for two towers", "triple"],
)
def test_wrong_tokens_are_refused(small, two_towers, tokens):
    with pytest.raises(ValueError, match="tokens: expected int64"):
        classifier(**small, two_towers=two_towers)(tokens)
