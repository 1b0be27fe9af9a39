import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spion_bench.ops.reference.pattern import walk
from spion_bench.passes.synthetic import band_and_stripes
from spion_bench.pattern.generate import top_k_count
from spion_bench.suite.budget import block_budget
from spion_bench.tasks import load_config, task_names

# SPION code, config.py, counted: task, block rows, quantile, density, most blocks of CF and F, of C
PUBLISHED = [
    ("image", 32, 0.96, 0.04, 73, 40),
    ("pathfinder", 32, 0.96, 0.05, 73, 51),
    ("listops", 32, 0.98, 0.04, 53, 40),
    ("text", 64, 0.99, 0.03, 105, 122),
    ("retrieval", 64, 0.99, 0.021, 105, 86),
]


@pytest.mark.parametrize(("task", "nb", "quantile", "density", "most_cf", "most_c"), PUBLISHED)
def test_budget_of_published_tasks(task, nb, quantile, density, most_cf, most_c):
    budget = {
        variant: block_budget(variant, nb, quantile=quantile, density=density)
        for variant in ("CF", "F", "C")
    }
    assert budget == {"CF": most_cf, "F": most_cf, "C": most_c}


@pytest.mark.parametrize("task", task_names())
def test_the_tasks_of_the_suite_have_the_published_budget(task):
    config = load_config(task)
    spion, nb = config.spion, config.model.max_length // config.spion.block_size
    published = {row[0]: row[1:] for row in PUBLISHED}[task]
    assert (nb, spion.quantile, spion.density) == published[:3]


def test_no_walk_keeps_more_than_the_budget():
    nb, quantile = 16, 0.9
    for seed in range(20):
        pooled = torch.rand(nb, nb, generator=torch.Generator().manual_seed(seed))
        threshold = float(torch.quantile(pooled.flatten(), quantile))
        kept = walk(pooled.tolist(), threshold) | {(i, i) for i in range(nb)}
        assert len(kept) <= block_budget("CF", nb, quantile=quantile, density=0)


@pytest.mark.parametrize("density", [0.001, 0.021, 0.1, 1.0])
def test_the_budget_of_variant_c_is_what_its_generation_keeps(density):
    for nb in (8, 32, 64):
        kept = min(nb * nb, nb + top_k_count(nb, density))
        assert block_budget("C", nb, quantile=0, density=density) == kept


def test_budget_is_at_least_the_diagonal_and_at_most_everything():
    assert block_budget("C", 8, quantile=0, density=0.01) == 8
    assert block_budget("CF", 8, quantile=0.0, density=0) == 64


@given(st.data())
def test_pattern_has_the_asked_number_of_blocks_and_the_diagonal(data):
    nb = data.draw(st.integers(1, 20))
    n_blocks = data.draw(st.integers(nb, nb * nb))
    pattern = band_and_stripes(nb * 8, 8, n_blocks)
    assert pattern.nnzb == n_blocks
    assert pattern.to_mask().diagonal().all()


def test_pattern_is_always_the_same_and_has_bands_and_stripes():
    pattern = band_and_stripes(1024, 32, 73)
    assert pattern == band_and_stripes(1024, 32, 73)
    rows, columns = pattern.to_mask().nonzero().T
    distance = (rows - columns).abs()
    assert (distance == 1).sum() == 21
    far = columns[distance > 1]
    assert len(far) == 20
    assert len(far.unique()) <= 2  # stripes: few columns, many rows


@pytest.mark.parametrize("n_blocks", [3, 17])
def test_impossible_number_of_blocks_is_refused(n_blocks):
    with pytest.raises(ValueError, match=f"n_blocks: expected 4 .* to 16 .*, got {n_blocks}"):
        band_and_stripes(64, 16, n_blocks)
