"""As many blocks as a pattern has, elsewhere."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spion_bench.block_pattern import BlockPattern
from spion_bench.pattern.placement import (
    blocks_of_most_mass,
    overlap,
    place_blocks,
    random_blocks,
    window_of_blocks,
)


@given(st.data())
def test_blocks_placed_elsewhere_are_as_many(data):
    nb = data.draw(st.integers(1, 20))
    n_blocks = data.draw(st.integers(nb, nb * nb))
    window = window_of_blocks(nb * 8, 8, n_blocks)
    random = random_blocks(nb * 8, 8, n_blocks, seed=1)
    for pattern in (window, random):
        assert pattern.nnzb == n_blocks
        assert pattern.to_mask().diagonal().all()
    rows, columns = window.to_mask().nonzero().T
    reach = int((rows - columns).abs().max())
    assert window.to_mask().sum() > nb + 2 * sum(nb - d for d in range(1, reach)) or reach == 0


def test_random_blocks_differ_by_seed_and_repeat():
    first, second = (random_blocks(1024, 32, 100, seed=seed) for seed in (0, 1))
    assert first != second
    assert first == random_blocks(1024, 32, 100, seed=0)


def test_most_mass_keeps_the_diagonal_and_the_largest_other_blocks():
    pooled = torch.tensor([[0.0, 0.9, 0.1], [0.8, 0.0, 0.2], [0.3, 0.7, 0.0]])
    kept = blocks_of_most_mass(pooled, 8, 5).to_mask()
    assert kept.int().tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert blocks_of_most_mass(torch.ones(3, 3), 8, 4).to_mask()[0, 1]  # the first of equals


@pytest.mark.parametrize("blocks", ["own", "window", "random", "top_mass"])
def test_a_pattern_is_placed_with_as_many_blocks(blocks):
    pattern = BlockPattern.from_mask(torch.eye(16, dtype=torch.bool).roll(3, 1), 8)
    placed = place_blocks(pattern, blocks, seed=1, attention_map=torch.rand(128, 128))
    assert placed.nnzb == pattern.nnzb
    assert (placed == pattern) == (blocks == "own")


def test_most_mass_needs_a_map():
    with pytest.raises(ValueError, match="attention_map"):
        place_blocks(BlockPattern.band(64, 8, 1), "top_mass", seed=0)


def test_overlap_says_what_a_window_and_the_largest_blocks_would_keep():
    far = BlockPattern.from_mask(torch.eye(4) + torch.eye(4).roll(2, 1), 16)  # 8 of 16 blocks
    attention_map = torch.full((32, 32), 1.0)
    attention_map[:8, 16:24] = 9.0  # block (0, 2), where the pattern has one
    found = overlap(far, attention_map)
    assert found is not None
    assert found.window == 4 / 8  # the diagonal alone
    assert found.top_mass > found.window
    assert found.mass_kept == pytest.approx(16 / 24)
    assert found.window_mass == pytest.approx(8 / 24)
    assert found.most_mass == pytest.approx(16 / 24)
    assert overlap(far, torch.ones(6, 6)) is None
