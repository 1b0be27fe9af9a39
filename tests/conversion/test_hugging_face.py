import copy

import pytest
import torch

from spion_bench import BlockPattern, sparsify
from spion_bench.conversion import hugging_face

transformers = pytest.importorskip("transformers")
WIDTHS = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
LENGTH = 64


def token_batch():
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(3, LENGTH, dtype=torch.long)
    mask[0, 40:] = 0
    ids = torch.randint(5, 90, (3, LENGTH), generator=generator)
    return {"input_ids": ids, "attention_mask": mask}


def bert():
    return transformers.BertModel(transformers.BertConfig(vocab_size=100, **WIDTHS)), token_batch()


def roberta():
    config = transformers.RobertaConfig(vocab_size=100, max_position_embeddings=80, **WIDTHS)
    return transformers.RobertaModel(config), token_batch()


def vit():
    config = transformers.ViTConfig(image_size=32, patch_size=4, num_channels=1, **WIDTHS)
    return transformers.ViTModel(config), {"pixel_values": torch.randn(2, 1, 32, 32)}


@pytest.mark.parametrize("make", [bert, roberta, vit])
def test_an_encoder_is_itself_until_it_turns_sparse_and_then_trains_on(make):
    model, inputs = make()
    plain = copy.deepcopy(model)
    controller = sparsify(model, switch=1, block_size=8, quantile=0.8)
    assert len(controller.layers) == 2
    model.eval()
    plain.eval()
    with torch.no_grad():
        dense = plain(**inputs)[0]
        assert torch.allclose(model(**inputs)[0], dense, atol=1e-6)
    model.train()
    model(**inputs)[0].square().mean().backward()
    controller.step()
    assert controller.phase == "sparse"
    model(**inputs)[0].square().mean().backward()
    model.eval()
    with torch.no_grad():
        sparse = model(**inputs)[0]
    assert torch.isfinite(sparse).all()
    assert not torch.allclose(sparse, dense, atol=1e-3)


def test_sparse_over_every_block_is_dense_attention():
    model, inputs = bert()
    model.eval()
    with torch.no_grad():
        dense = model(**inputs)[0]
    controller = sparsify(model, switch="by_hand", block_size=8)
    for layer in controller.layers.values():
        layer.pattern = BlockPattern.full(LENGTH, 8)
    with torch.no_grad():
        sparse = model(**inputs)[0]
    real = inputs["attention_mask"].bool()
    assert torch.allclose(sparse[real], dense[real], atol=1e-5)


def test_a_saved_sparse_model_is_loaded_sparse(tmp_path):
    model, inputs = bert()
    controller = sparsify(model, switch=1, block_size=8, quantile=0.8)
    model(**inputs)
    controller.step()
    model.eval()
    with torch.no_grad():
        expected = model(**inputs)[0]
    torch.save(model.state_dict(), tmp_path / "model.pt")
    again, _ = bert()
    loaded = sparsify(again, switch=1, block_size=8, quantile=0.8)
    again.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    again.eval()
    assert loaded.phase == "sparse"
    with torch.no_grad():
        assert torch.equal(again(**inputs)[0], expected)


def test_cross_attention_is_left_alone():
    config = transformers.BertConfig(
        vocab_size=100, is_decoder=True, add_cross_attention=True, **WIDTHS
    )
    names = hugging_face.attention_modules(transformers.BertModel(config))
    assert list(names) == [f"encoder.layer.{index}.attention.self" for index in range(2)]


def test_what_changes_scores_is_refused():
    q = torch.zeros(1, 2, 8, 4)
    with pytest.raises(ValueError, match="softcap"):
        hugging_face._attention(torch.nn.Module(), q, q, q, None, softcap=0.5)


def test_attention_weights_are_refused():
    model, inputs = bert()
    sparsify(model, switch=1, block_size=8)
    with pytest.raises(ValueError, match="output_attentions: expected False"):
        model(**inputs, output_attentions=True)
    config = transformers.BertConfig(vocab_size=100, output_attentions=True, **WIDTHS)
    model = transformers.BertModel(config)
    with pytest.raises(ValueError, match="output_attentions: expected False"):
        sparsify(model, switch=1, block_size=8)


def test_a_sparse_checkpoint_loaded_without_spion_says_what_it_does_not_use(tmp_path):
    model, inputs = bert()
    controller = sparsify(model, switch=1, block_size=8, quantile=0.8)
    model(**inputs)
    controller.step()
    model.save_pretrained(tmp_path)
    _, report = type(model).from_pretrained(tmp_path, output_loading_info=True)
    unexpected = report["unexpected_keys"]
    assert "encoder.layer.1.attention.self.spion.crow_indices" in unexpected
    assert len(unexpected) == 6
    assert not report["missing_keys"]


def test_packed_sequences_and_masks_per_query_are_refused():
    config = transformers.LlamaConfig(vocab_size=100, **WIDTHS)
    model = transformers.LlamaModel(config)
    sparsify(model, switch=1, block_size=8)
    ids = token_batch()["input_ids"]
    packed = torch.arange(LENGTH).remainder(LENGTH // 2).expand(3, -1)
    with pytest.raises(ValueError, match="differs between queries"):
        model(ids, position_ids=packed, use_cache=False)
    encoder, _ = bert()
    sparsify(encoder, switch=1, block_size=8)
    with pytest.raises(ValueError, match="attention_mask"):
        encoder(ids, attention_mask=torch.ones(3, 1, LENGTH, LENGTH))
