"""Causal patterns, head groups, grouped queries, any lengths, cross-attention: the CUDA sources."""

import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.ops import block_attention
from tests.emulation.test_block_attention import one_long_column
from tests.ops.cases import PRUNED, REACH, Case, is_square
from tests.ops.oracle import compare_attention

pytestmark = pytest.mark.usefixtures("emulated_backend")

# Of float16, the type that mutations are built for; types differ in nothing that is new here.
CASES = {name: case for name, case in REACH.items() if name != "many_keys_in_chunks"}
CAUSAL = {name: case for name, case in CASES.items() if is_square(case)}


@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_matches_the_oracle(case, pruned):
    compare_attention(case, torch.float16, pruned=pruned)


@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("case", CAUSAL.values(), ids=CAUSAL)
def test_matches_the_oracle_causally(case, pruned):
    compare_attention(case, torch.float16, pruned=pruned, causal=True)


@pytest.mark.parametrize("name", CASES)
def test_matches_the_oracle_with_padding_and_dropout(name):
    case = CASES[name]
    compare_attention(
        case,
        torch.float16,
        pruned="zero_logit",
        causal=is_square(case),
        **case.padding_and_dropout(),
    )


@pytest.mark.parametrize("causal", [False, True])
def test_long_columns_of_groups(causal):
    first = one_long_column(16).to_mask()
    pattern = BlockPattern.from_mask(torch.stack([first, first.roll(5, dims=1)]), 16)
    case = Case(pattern, batch=1, heads=4, width=32, kv_heads=1, lengths=(310, 310))
    compare_attention(case, torch.float16, pruned="zero_logit", causal=causal)


def test_blocks_above_the_diagonal_change_no_bit():
    case = REACH["two_tiles"]
    results = [
        block_attention(*case.inputs(torch.float16), pattern, pruned="zero_logit", causal=True)
        for pattern in (case.pattern, case.pattern.lower_triangle())
    ]
    assert torch.equal(*results)
