import json
import math
import os
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spion_bench.block_pattern import BlockPattern
from spion_bench.ops import block_attention


@st.composite
def masks(draw):
    nb = draw(st.integers(1, 12))
    bits = draw(st.lists(st.booleans(), min_size=nb * nb, max_size=nb * nb))
    return torch.tensor(bits).view(nb, nb)


def index_tensors(crow, col):
    return torch.tensor(crow, dtype=torch.int32), torch.tensor(col, dtype=torch.int32)


@given(mask=masks(), block_size=st.sampled_from([8, 16, 32, 64, 128]))
def test_property_mask_round_trip(mask, block_size):
    pattern = BlockPattern.from_mask(mask, block_size)
    assert torch.equal(pattern.to_mask(), mask)
    assert pattern.nnzb == int(mask.sum())
    assert pattern.length == mask.shape[0] * block_size
    assert pattern.density == pytest.approx(mask.double().mean().item())


@st.composite
def group_masks(draw):
    shape = [draw(st.integers(1, 5)) for _ in range(3)]
    size = shape[0] * shape[1] * shape[2]
    bits = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    return torch.tensor(bits).view(shape)


@given(mask=group_masks())
def test_property_groups_and_rectangles_are_kept(mask, tmp_path_factory):
    pattern = BlockPattern.from_mask(mask, 8)
    assert (pattern.groups, pattern.nb, pattern.nb_keys) == mask.shape
    assert (pattern.length, pattern.key_length) == (8 * mask.shape[1], 8 * mask.shape[2])
    expected = mask[0] if pattern.groups == 1 else mask
    assert torch.equal(pattern.to_mask(), expected)
    assert torch.equal(pattern.transpose().to_mask(), expected.mT)
    assert torch.equal(pattern.lower_triangle().to_mask(), expected.tril())
    assert pattern.transpose().transpose() == pattern
    assert pattern.to("cpu") is pattern
    assert pattern.density == pytest.approx(mask.double().mean().item())
    path = tmp_path_factory.mktemp("pattern") / "pattern.json"
    pattern.save(path)
    assert BlockPattern.load(path) == pattern


@given(mask=group_masks())
def test_property_each_group_is_listed_as_it_is_alone(mask):
    pattern = BlockPattern.from_mask(mask, 8)
    by_row = (pattern.nb, "crow_indices", "col_indices")
    by_column = (pattern.nb_keys, "t_crow_indices", "t_row_indices")
    for group, own in enumerate(mask):
        alone = BlockPattern.from_mask(own, 8)
        for n, begins, entries in (by_row, by_column):
            words = getattr(pattern, begins)[group * n : (group + 1) * n + 1]
            assert torch.equal(words - words[0], getattr(alone, begins))
            listed = getattr(pattern, entries)[words[0] : words[-1]]
            assert torch.equal(listed, getattr(alone, entries))


def test_one_square_pattern_is_saved_as_ever(tmp_path):
    BlockPattern.band(16, 8, 0).save(tmp_path / "pattern.json")
    assert json.loads((tmp_path / "pattern.json").read_text(encoding="utf-8")) == {
        "block_size": 8,
        "crow_indices": [0, 1, 2],
        "col_indices": [0, 1],
    }


@pytest.mark.parametrize("groups", [0, 2, -1])
def test_groups_have_equally_many_rows(groups):
    with pytest.raises(ValueError, match="groups: expected a divisor of the 3 block rows, got"):
        BlockPattern(8, *index_tensors([0, 1, 1, 1], [0]), groups)


@given(mask=masks())
def test_property_transpose_is_its_own_inverse(mask):
    pattern = BlockPattern.from_mask(mask, 8)
    assert torch.equal(pattern.transpose().to_mask(), mask.T)
    assert pattern.transpose().transpose() == pattern


@given(mask=masks())
def test_property_transposed_entries_point_at_their_tiles(mask):
    pattern = BlockPattern.from_mask(mask, 8)
    tiles = pattern.t_tile_indices.long()
    assert sorted(tiles.tolist()) == list(range(pattern.nnzb))
    assert torch.equal(pattern.row_indices()[tiles], pattern.t_row_indices)
    counts = pattern.t_crow_indices.diff().long()
    columns = torch.arange(pattern.nb).repeat_interleave(counts).int()
    assert torch.equal(pattern.col_indices[tiles], columns)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@given(mask=masks())
def test_property_words_are_those_of_torch_csr(mask):
    # A CSR matrix of ones, one entry per block, is an independent derivation of the index tensors.
    csr = mask.double().to_sparse_csr()
    pattern = BlockPattern.from_mask(mask, 8)
    assert torch.equal(pattern.crow_indices.long(), csr.crow_indices())
    assert torch.equal(pattern.col_indices.long(), csr.col_indices())


@given(mask=masks())
def test_property_save_and_load(mask, tmp_path_factory):
    path = tmp_path_factory.mktemp("pattern") / "pattern.json"
    pattern = BlockPattern.from_mask(mask, 16)
    pattern.save(path)
    assert BlockPattern.load(path) == pattern


def test_a_pattern_that_cannot_be_saved_keeps_the_one_before(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    path = tmp_path / "pattern.json"
    before = BlockPattern.full(64, 16)
    before.save(path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        BlockPattern.band(64, 16, 0).save(path)
    assert BlockPattern.load(path) == before
    assert [file.name for file in tmp_path.iterdir()] == ["pattern.json"]


def test_token_mask():
    pattern = BlockPattern.from_mask(torch.tensor([[1, 0], [1, 1]]), 8)
    expected = torch.ones(16, 16, dtype=torch.bool)
    expected[:8, 8:] = False
    assert torch.equal(pattern.to_token_mask(), expected)


def test_full_and_band():
    assert BlockPattern.full(64, 16).to_mask().all()
    band = BlockPattern.band(64, 16, 1).to_mask()
    assert band.int().tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]]
    assert BlockPattern.band(64, 16, 0).nnzb == 4


def test_equality_and_hash():
    pattern = BlockPattern.band(64, 16, 1)
    same = BlockPattern.band(64, 16, 1)
    assert pattern == same
    assert hash(pattern) == hash(same)
    assert pattern != BlockPattern.band(64, 16, 0)
    assert pattern != BlockPattern.band(32, 8, 1)
    assert pattern != "pattern"


def test_is_immutable():
    pattern = BlockPattern.full(16, 8)
    with pytest.raises(AttributeError):
        pattern.block_size = 16


def test_to_the_same_device_is_the_same_object():
    pattern = BlockPattern.full(16, 8)
    assert pattern.to("cpu") is pattern


def test_repr_names_what_matters():
    assert repr(BlockPattern.band(64, 16, 0)) == (
        "BlockPattern(length=64, block_size=16, nnzb=4, density=0.2500)"
    )


@pytest.mark.parametrize("block_size", [0, 4, 24, 256, -8])
def test_wrong_block_sizes(block_size):
    with pytest.raises(ValueError, match="block_size: expected a power of two from 8 to 128"):
        BlockPattern.from_mask(torch.eye(2), block_size)


@pytest.mark.parametrize(
    ("crow", "col", "message"),
    [
        ([0, 1], [1], "col_indices: expected values from 0 to 0, got 1 to 1"),
        ([0, 1], [-1], "col_indices: expected values from 0 to 0, got -1 to -1"),
        ([0, 2, 2], [1, 0], "col_indices: expected strictly ascending columns within each"),
        ([0, 2, 2], [1, 1], "col_indices: expected strictly ascending columns within each"),
        ([0, 1, 1], [0, 1], "crow_indices: expected to rise from 0 to nnzb=2"),
        ([1, 1, 2], [0, 1], "crow_indices: expected to rise from 0 to nnzb=2"),
        ([0, 2, 1], [0], "crow_indices: expected to rise from 0 to nnzb=1"),
        ([0, 2**31 - 1, -2, 0], [], "crow_indices: expected to rise from 0 to nnzb=0, got [0, 2"),
        (
            [1, *range(20)],
            [],
            "crow_indices: expected to rise from 0 to nnzb=0, got [1, 0, 1, 2] ... [",
        ),
        ([0], [], "crow_indices: expected at least one block row"),
    ],
)
def test_wrong_index_tensors(crow, col, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        BlockPattern(8, *index_tensors(crow, col))


def test_a_pattern_owns_its_tensors():
    crow, col = index_tensors([0, 1, 2], [0, 1])
    pattern = BlockPattern(8, crow, col)
    col[0] = crow[1] = 7
    assert pattern == BlockPattern.band(16, 8, 0)


def test_strided_index_tensors_become_contiguous():
    crow, col = (torch.stack([x, x], 1)[:, 0] for x in index_tensors([0, 1, 2], [0, 1]))
    pattern = BlockPattern(8, crow, col)
    assert all(tensor.is_contiguous() for tensor in pattern.index_tensors)
    q = torch.ones(1, 1, 16, 4)
    assert torch.equal(block_attention(q, q, q, pattern, pruned="minus_inf"), q)


def test_words_must_be_int32():
    crow, col = index_tensors([0, 1], [0])
    with pytest.raises(ValueError, match="crow_indices: expected a one-dimensional int32 tensor"):
        BlockPattern(8, crow.long(), col)
    with pytest.raises(ValueError, match="col_indices: expected a one-dimensional int32 tensor"):
        BlockPattern(8, crow, col[None])


@pytest.mark.parametrize("mask", [torch.ones(4), torch.ones(0, 0), torch.ones(1, 2, 2, 2)])
def test_masks_have_rows_and_columns(mask):
    with pytest.raises(
        ValueError, match=r"mask: expected \[nb, nb_keys\] or \[groups, nb, nb_keys"
    ):
        BlockPattern.from_mask(mask, 8)


@pytest.mark.parametrize("length", [0, -8, 12])
def test_lengths_must_be_whole_blocks(length):
    with pytest.raises(ValueError, match="length: expected a positive multiple of block_size=8"):
        BlockPattern.full(length, 8)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1]",
        json.dumps({"block_size": 8, "crow_indices": [0, 2], "col_indices": [0]}),
        json.dumps({"block_size": 8, "crow_indices": [0, 1], "col_indices": ["a"]}),
        *(
            json.dumps({"block_size": 8, "crow_indices": [0, 1], "col_indices": [0]} | wrong)
            for wrong in (
                {"block_size": 8.5},
                {"block_size": math.inf},
                {"crow_indices": 1},
                {"col_indices": [0.5]},
                {"col_indices": [True]},
                {"groups": 2**40},
                {"nb_keys": -1},
                {"nb_keys": 2**31 - 1},
            )
        ),
        "[" * 100_000,
    ],
)
def test_files_that_are_no_pattern(text, tmp_path):
    path = tmp_path / "broken.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"broken.json: not a saved BlockPattern"):
        BlockPattern.load(path)
