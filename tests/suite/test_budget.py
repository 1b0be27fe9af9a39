import pytest

from spion_bench.suite.budget import matched_window, most_kept_blocks


@pytest.mark.parametrize(
    ("nb", "quantile", "blocks"), [(2, 0.5, 4), (2, 1.0, 2), (4, 0.6, 10), (4, 0.0, 16)]
)
def test_kept_blocks_are_those_above_the_quantile_and_the_diagonal(nb, quantile, blocks):
    assert most_kept_blocks(nb, quantile) == blocks


def test_a_matched_window_holds_what_spion_keeps():
    # Image task: 1024 tokens, 32 blocks of 32, quantile 0.96: 73 blocks kept, 73 keys per row.
    assert matched_window(1024, 32, 0.96) + 1 == 73
    # Retrieval: 4096 tokens, blocks of 64, quantile 0.99: 105 blocks.
    assert matched_window(4096, 64, 0.99) + 1 == 105
