import pytest
import torch

from baselines.block.bigbird import BigBird
from baselines.block.sparse_transformer import SparseTransformer
from baselines.block.spion_kernel import SpionKernel
from baselines.shared import block_patterns
from baselines.shared.band import window_mask
from baselines.shared.block_patterns import bigbird_block
from tests.baselines.oracle import assert_exact, padding

OWN = {
    "bigbird": lambda: BigBird(block_size=8, n_random=2, layer=1),
    "strided": lambda: SparseTransformer("strided", block_size=8),
    "fixed": lambda: SparseTransformer("fixed", block_size=8),
}
OURS = {
    "window_block": lambda: SpionKernel("window_block", 8, window=20),
    "longformer_block": lambda: SpionKernel("longformer_block", 8, window=20, n_global=9),
    "bigbird_block": lambda: SpionKernel("bigbird_block", 8, n_random=2),
    "strided": lambda: SpionKernel("strided", 8),
    "fixed": lambda: SpionKernel("fixed", 8),
}
every_method = pytest.mark.parametrize(
    "make", [*OWN.values(), *OURS.values()], ids=[*OWN, *(f"spion+{name}" for name in OURS)]
)


@every_method
@pytest.mark.parametrize("length", [128, 115, 16], ids=["whole", "padded", "two blocks"])
@pytest.mark.parametrize("is_padded", [False, True])
def test_it_is_exact_over_its_blocks(make, length, is_padded):
    mask = padding(length, length, length // 3) if is_padded else None
    attention = make()
    assert_exact(attention, length, attention.token_mask(length, 3), mask)


def blocks(name, length, size, **options):
    return getattr(block_patterns, name)(length, size, **options).to_mask()


@pytest.mark.parametrize("window", [2, 14, 16, 18, 100])
def test_window_blocks_are_those_that_the_window_touches(window):
    tokens = window_mask(96, window // 2)
    touched = tokens.view(12, 8, 12, 8).any(dim=3).any(dim=1)
    assert torch.equal(blocks("window_block", 96, 8, window=window), touched)
    tokens[:9], tokens[:, :9] = True, True
    touched = tokens.view(12, 8, 12, 8).any(dim=3).any(dim=1)
    assert torch.equal(blocks("longformer_block", 96, 8, window=window, n_global=9), touched)


def test_bigbird_rows_have_window_global_and_random_blocks():
    mask = blocks("bigbird_block", 1280, 64)
    assert mask[[0, -1]].all()
    assert mask[:, [0, -1]].all()
    place = torch.arange(20)
    assert mask[(place[:, None] - place).abs() <= 1].all()
    assert mask[2:-2].sum(1).tolist() == [3 + 2 + 3] * 16
    assert mask[[1, -2]].sum(1).tolist() == [3 + 1 + 3] * 2  # the window touches a global block


def test_in_the_long_range_arena_random_blocks_lie_in_the_first_1024_tokens():
    anywhere, first = (
        blocks("bigbird_block", 4096, 64, random_tokens=tokens) for tokens in (None, 1024)
    )
    fixed = blocks("bigbird_block", 4096, 64, n_random=0)
    assert (first & ~fixed)[:, 16:].sum() == 0
    assert (first & ~fixed)[20:-1].sum(1).tolist() == [3] * 43
    assert (anywhere & ~fixed)[:, 16:].any()
    assert torch.equal(first & fixed, fixed)


def test_where_too_few_blocks_are_left_fewer_are_drawn():
    fixed = blocks("bigbird_block", 1024, 64, n_random=0)
    drawn = blocks("bigbird_block", 1024, 64, random_tokens=192) & ~fixed
    assert drawn[:, 3:].sum() == 0
    assert drawn[8].sum() == 2  # blocks 1 and 2; block 0 is global


def test_random_blocks_follow_from_seed_and_layer_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, again = (bigbird_block(1024, 32, seed=3, layer=1) for _ in range(2))
    assert first == again
    assert torch.equal(torch.get_rng_state(), state)
    assert first != bigbird_block(1024, 32, seed=3, layer=0)
    assert first != bigbird_block(1024, 32, seed=4, layer=1)
    assert BigBird(32, seed=3, layer=1).pattern(1024) == first
    assert SpionKernel("bigbird_block", 32, layer=1, seed=3).pattern(1024) == first


def test_random_blocks_lie_anywhere():
    drawn = sum(blocks("bigbird_block", 1024, 32, layer=n)[2:-2].int() for n in range(120))
    assert (drawn > 0).all()


def test_bigbird_evaluates_what_it_trains():
    attention = BigBird(block_size=8)
    q = torch.randn(1, 2, 200, 8)
    assert torch.equal(attention.train()(q, q, q), attention.eval()(q, q, q))


def test_strided_and_fixed_by_hand():
    n = 9  # blocks, stride 3
    strided, fixed = blocks("strided", 72, 8), blocks("fixed", 72, 8)
    for r in range(n):
        for c in range(n):
            assert strided[r, c] == (abs(r - c) <= 1 or (r - c) % 3 == 0)
            assert fixed[r, c] == (r // 3 == c // 3 or c % 3 == 2)


def test_scores_are_those_of_the_kept_blocks():
    attention = SparseTransformer("fixed", block_size=8)
    assert attention.n_scores(72, 2) == 2 * attention.token_mask(72, 2).sum()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpionKernel("checkerboard"), "pattern: expected one of window_block"),
        (lambda: bigbird_block(64, 8, n_window=2), "n_window: expected an odd"),
        (lambda: bigbird_block(64, 8, n_random=-1), "n_random: expected at least 0"),
        (lambda: block_patterns.strided(64, 8, stride=0), "stride: expected at least 1"),
        (lambda: block_patterns.fixed(64, 8, n_summary=9), "n_summary: expected 1 to 3"),
        (lambda: block_patterns.window_block(64, 8, window=5), "window: expected an even"),
        (lambda: block_patterns.strided(60, 8), "length: expected a positive multiple"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
