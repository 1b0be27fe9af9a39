"""Causal patterns, patterns of head groups, grouped queries, any lengths, cross-attention."""

import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.native import library
from spion_bench.ops import block_attention, reference
from tests.ops.cases import PRUNED, REACH, Case, holes, is_square, per_group, random_pattern
from tests.ops.oracle import compare_attention

CAUSAL = {name: case for name, case in REACH.items() if is_square(case)}


@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("case", REACH.values(), ids=REACH)
def test_matches_the_oracle(case, pruned):
    compare_attention(case, torch.float32, "fused", pruned=pruned)


@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("case", CAUSAL.values(), ids=CAUSAL)
def test_matches_the_oracle_causally(case, pruned):
    compare_attention(case, torch.float32, "fused", pruned=pruned, causal=True)


@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("name", REACH)
def test_matches_the_oracle_with_padding_dropout_and_scale(name, pruned):
    case = REACH[name]
    compare_attention(
        case,
        torch.float64,
        "fused",
        pruned=pruned,
        causal=is_square(case),
        key_padding_mask=case.key_padding_mask(),
        scale=0.7,
        dropout_p=0.3,
        dropout_seed=2**40 + 17,
    )


@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("causal", [False, True])
def test_gradcheck(pruned, causal):
    case = Case(per_group(2, 3, 8), batch=1, heads=4, kv_heads=2, width=2, lengths=(19, 19))

    def attend(q, k, v):
        options = {"pruned": pruned, "causal": causal, "dropout_p": 0.2, "dropout_seed": 3}
        out, lse = block_attention(q, k, v, case.pattern, **options, return_lse=True)
        return out, lse.exp().reciprocal()  # of an empty row 0, where +inf has no differences

    leaves = [x.requires_grad_() for x in case.inputs(torch.float64)]
    assert torch.autograd.gradcheck(attend, leaves, fast_mode=True)


def test_opcheck():
    library.load()
    case = REACH["groups_share_kv"]
    pattern, mask = case.pattern, case.key_padding_mask()
    options = (pattern.block_size, pattern.groups, is_square(case), True, mask, 0.25, 0.1, 7)
    indices = pattern.index_tensors
    q, k, v = case.inputs(torch.float32)
    ops = torch.ops.spion_bench
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    torch.library.opcheck(ops.block_attention_forward.default, (*leaves, *indices, *options))
    out, lse = ops.block_attention_forward(q, k, v, *indices, *options)
    torch.library.opcheck(
        ops.block_attention_backward.default,
        (torch.randn_like(out), None, q, k, v, out, lse, *indices, *options),
    )


def test_zeros_that_a_causal_row_counts():
    # Scores of 0 and values of 1: a row's output is its stored keys over all keys that it sees.
    pattern = BlockPattern.from_mask(torch.tensor([[1, 1, 1], [1, 0, 1], [1, 0, 0]]), 8)
    q = torch.zeros(1, 1, 24, 4, dtype=torch.float64)
    out = block_attention(q, q, q + 1, pattern, pruned="zero_logit", causal=True)
    expected = [1.0] * 8 + [8 / (i + 1) for i in range(8, 24)]
    assert out[0, 0, :, 0].tolist() == pytest.approx(expected)


def test_filling_of_the_last_block_is_no_pruned_score():
    pattern = BlockPattern.from_mask(torch.tensor([[1, 0, 1], [1, 1, 1], [1, 0, 0]]), 8)
    q = torch.zeros(1, 1, 19, 4, dtype=torch.float64)
    out = block_attention(q, q, q + 1, pattern, pruned="zero_logit")
    expected = [11 / 19] * 8 + [1.0] * 8 + [8 / 19] * 3  # of 19 keys; the last block holds 3
    assert out[0, 0, :, 0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("pruned", PRUNED)
def test_the_future_changes_nothing(pruned):
    case = REACH["ragged"]
    q, k, v = case.inputs(torch.float32)
    options = {"pattern": case.pattern, "pruned": pruned, "causal": True}
    before = block_attention(q, k, v, **options)
    k[:, :, 30:] = float("nan")
    v[:, :, 30:] = 1e30
    after = block_attention(q, k, v, **options)
    assert torch.equal(before[:, :, :16], after[:, :, :16])


@pytest.mark.parametrize("pruned", PRUNED)
def test_blocks_above_the_diagonal_change_no_bit(pruned):
    case = REACH["square"]
    results = [
        block_attention(*case.inputs(torch.float32), pattern, pruned=pruned, causal=True)
        for pattern in (case.pattern, case.pattern.lower_triangle())
    ]
    assert torch.equal(*results)


@pytest.mark.parametrize("causal", [False, True])
def test_each_head_is_what_it_is_alone(causal):
    case = REACH["groups_share_kv"]
    q, k, v = case.inputs(torch.float32)
    options = {"pruned": "zero_logit", "causal": causal}
    out = block_attention(q, k, v, case.pattern, **options)
    for head, mask in enumerate(case.pattern.to_mask()):
        alone = (q[:, head : head + 1], *(x[:, head // 2 : head // 2 + 1] for x in (k, v)))
        expected = block_attention(*alone, BlockPattern.from_mask(mask, 16), **options)
        torch.testing.assert_close(out[:, head : head + 1], expected)


def test_results_do_not_depend_on_the_number_of_threads():
    case = REACH["many_keys_in_chunks"]
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        leaves = [x.requires_grad_() for x in case.inputs(torch.float32)]
        out = block_attention(*leaves, case.pattern, pruned="zero_logit")
        results.append((out, *torch.autograd.grad(out.square().sum(), leaves)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


SELF = torch.zeros(2, 4, 32, 8)
SQUARE = BlockPattern.full(32, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": SELF[:, :3], "v": SELF[:, :3]}, "k: expected a number of heads that divides the 4 "),
        ({"k": SELF[:1], "v": SELF[:1]}, "k: expected .B=2, Hk, Lk, D=8. as q"),
        ({"k": SELF[:, :, :16], "v": SELF[:, :, :16], "causal": True}, "causal: expected as many"),
        ({"pattern": per_group(3, 2, 16)}, "pattern: expected a number of groups that divides"),
        ({"pattern": BlockPattern.full(16, 16)}, "q: expected a length up to the pattern.s, 16"),
        (
            {"pattern": BlockPattern.from_mask(torch.ones(2, 1), 16)},
            "k: expected a length up to the pattern.s, 16, got 32; build the",
        ),
        (
            {"causal": True, "implementation": "pipeline"},
            'implementation: expected "fused" for causal',
        ),
        (
            {"pattern": per_group(2, 2, 16), "implementation": "pipeline"},
            "implementation: expected",
        ),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    arguments = {"q": SELF, "k": SELF, "v": SELF, "pattern": SQUARE, "pruned": "minus_inf"}
    with pytest.raises(ValueError, match=f"^{message}"):
        block_attention(**(arguments | change))


@pytest.mark.parametrize(
    ("groups", "causal", "kv", "message"),
    [
        (3, False, SELF, "groups: expected a number that divides the heads"),
        (2, False, SELF, "crow_indices: expected at least 32 tokens for the sequence"),
        (1, True, SELF[:, :, :9], "causal: expected as many keys as queries"),
        (1, False, SELF[:, :3], "k: expected a number of heads that divides the 4 of q"),
        (0, False, SELF, "groups: expected a number that divides"),
    ],
)
def test_direct_calls_are_checked_too(groups, causal, kv, message):
    library.load()
    options = (16, groups, causal, False, None, 1.0, 0.0, 0)
    with pytest.raises(RuntimeError, match=message):
        torch.ops.spion_bench.block_attention_forward(SELF, kv, kv, *SQUARE.index_tensors, *options)


def test_reference_of_a_plain_case_is_its_pipeline():
    case = Case(holes(4, 8), width=3)
    q, k, v = case.inputs(torch.float64)
    scores = reference.block_sddmm(q, k, case.pattern, scale=0.5)
    probs, lse = reference.block_softmax(scores, case.pattern, pruned="zero_logit")
    expected = reference.block_spmm(probs, v, case.pattern), lse
    got = reference.block_attention(q, k, v, case.pattern, pruned="zero_logit", scale=0.5)
    torch.testing.assert_close(got, expected)


def test_dropout_is_that_of_the_position_alone():
    case = Case(random_pattern(4, 16, 0.4), heads=4, width=8)
    q, k, v = case.inputs(torch.float32)
    options = {"pruned": "minus_inf", "dropout_p": 0.5, "dropout_seed": 5, "causal": True}
    long = block_attention(q, k, v, case.pattern, **options)
    short = block_attention(*(x[:, :, :41] for x in (q, k, v)), case.pattern, **options)
    torch.testing.assert_close(long[:, :, :41], short)
