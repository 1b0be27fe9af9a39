"""A layer's pattern is state of its module: it moves, is saved and is loaded with it."""

import copy
import io

import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import PATTERN_STATE, SpionAttention

BAND = BlockPattern.band(64, 8, 1)


def sparse():
    return SpionAttention("zero_logit", BAND)


def test_a_dense_layer_has_no_state():
    assert SpionAttention("zero_logit").state_dict() == {}


def test_a_sparse_layer_saves_its_pattern_and_a_dense_one_becomes_sparse_with_it():
    file = io.BytesIO()
    torch.save(sparse().state_dict(), file)
    file.seek(0)
    loaded = SpionAttention("zero_logit")
    loaded.load_state_dict(torch.load(file, weights_only=True))
    assert loaded.pattern == BAND
    q, k, v = torch.randn(3, 1, 2, 64, 16).unbind()
    assert torch.equal(loaded(q, k, v), sparse()(q, k, v))


def test_another_pattern_is_replaced():
    layer = SpionAttention("zero_logit", BlockPattern.full(32, 16))
    layer.load_state_dict(sparse().state_dict())
    assert layer.pattern == BAND


def test_a_state_without_the_pattern_is_named_and_the_layer_stays_sparse():
    layer = sparse()
    with pytest.raises(RuntimeError, match=r"Missing key.*block_size.*crow_indices.*col_indices"):
        layer.load_state_dict({})
    missing = layer.load_state_dict({}, strict=False).missing_keys
    assert missing == list(PATTERN_STATE)
    assert layer.pattern == BAND


def test_a_state_that_is_no_pattern_is_refused():
    state = {**sparse().state_dict(), "block_size": torch.tensor(7)}
    layer = SpionAttention("zero_logit")
    with pytest.raises(RuntimeError, match="block_size: expected a power of two"):
        layer.load_state_dict(state)
    assert layer.pattern is None


def test_a_layer_that_turns_dense_again_has_no_state():
    layer = sparse()
    layer.pattern = None
    assert layer.state_dict() == {}


def test_the_pattern_follows_the_module_but_not_its_dtype():
    layer = sparse().to(torch.float64)
    assert layer.pattern == BAND
    moved = copy.deepcopy(layer).to("meta")
    assert {word.device.type for word in moved.pattern.index_tensors} == {"meta"}
    assert {buffer.device.type for buffer in moved.buffers()} == {"meta"}
    assert (moved.pattern.nnzb, moved.pattern.block_size) == (BAND.nnzb, BAND.block_size)
    assert layer.pattern == BAND


def test_a_copy_has_its_own_pattern():
    layer = sparse()
    other = copy.deepcopy(layer)
    other.pattern = None
    assert layer.pattern == BAND


def test_patterns_of_head_groups_and_rectangles_are_state_too():
    pattern = BlockPattern.from_mask(torch.ones(2, 3, 5).tril(), 8)
    layer = SpionAttention("zero_logit", pattern)
    loaded = sparse()
    loaded.load_state_dict(layer.state_dict())
    assert loaded.pattern == pattern
    loaded.load_state_dict(sparse().state_dict())
    assert loaded.pattern == BAND
    assert loaded.state_dict().keys() == sparse().state_dict().keys()
