"""The definitions are checked against hand-made numbers, published vectors and each other."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from spion_bench.block_pattern import BlockPattern
from spion_bench.ops import reference
from spion_bench.ops.reference.dropout import dropout_keep_mask, philox4x32_10
from tests.ops.cases import CASES, PRUNED, golden


def words(*values):
    return tuple(torch.tensor([value]) for value in values)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        # The known-answer vectors of the Random123 library, kat_vectors, philox4x32 10.
        (
            (0, 0, 0, 0),
            (0, 0),
            (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
        ),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_known_answers(counter, key, expected):
    assert tuple(int(word) for word in philox4x32_10(words(*counter), key)) == expected


@pytest.mark.parametrize("level", [-1000.0, 1000.0])
@pytest.mark.parametrize(("n_absent", "share"), [(0, 1.0), (2, None)])
def test_softmax_of_scores_far_from_0(level, n_absent, share):
    scores = torch.tensor([level, level - math.log(3)])
    probs, lse = reference.softmax_rows(scores, n_absent)
    share = (level > 0) if share is None else share
    torch.testing.assert_close(probs, share * torch.tensor([0.75, 0.25]), rtol=1e-4, atol=0)
    torch.testing.assert_close(lse, torch.tensor(level + math.log(4 / 3) if share else math.log(2)))


def test_dropout_mask_layout():
    # Entry (batch-head 0, query 0, keys 0..7) with seed 0 reads the words of counter 0, whose
    # values are the known answer 6627e8d5 e169c58d bc57ac4c 9b00dbd8, low halves first.
    values = [0xE8D5, 0x6627, 0xC58D, 0xE169, 0xAC4C, 0xBC57, 0xDBD8, 0x9B00]
    p = 0xC000 / 65536
    keep = dropout_keep_mask(1, torch.arange(1), torch.arange(8), p=p, seed=0)
    assert keep.flatten().tolist() == [value >= 0xC000 for value in values]


def test_dropout_mask_counts_queries_heads_and_both_key_words():
    rows, columns, seed = torch.tensor([5]), torch.tensor([16, 19]), (7 << 32) + 3
    words_ = philox4x32_10(words(2, 5, 1, 0), (3, 7))
    values = [int(words_[0]) & 0xFFFF, int(words_[1]) >> 16]
    for threshold in (0x4000, 0x8000, 0xC000):
        keep = dropout_keep_mask(2, rows, columns, p=threshold / 65536, seed=seed)
        assert keep[1, 0].tolist() == [value >= threshold for value in values]


def test_tiles_and_dense_are_inverse():
    case = CASES["holes"]
    dense = torch.randn(2, 3, case.pattern.length, case.pattern.length)
    tiles = reference.to_tiles(dense, case.pattern)
    assert torch.equal(
        reference.to_dense(tiles, case.pattern), dense * case.pattern.to_token_mask()
    )
    assert torch.equal(
        tiles[0, 0, 0], dense[0, 0, :8, int(case.pattern.col_indices[0]) * 8 :][:, :8]
    )


@pytest.mark.parametrize(
    "case_id",
    [
        "softmax_row_4tokens",
        "softmax_row_4tokens_masked",
        "softmax_row_full",
        "softmax_row_all_padding_sparse",
    ],
)
def test_softmax_rows_golden(case_id):
    case = golden(case_id)
    inputs, expected = case["inputs"], case["expected"]
    scores = torch.tensor(inputs["scaled_scores"], dtype=torch.float64, requires_grad=True)
    masked = scores
    if inputs["key_mask"] is not None:
        masked = scores.masked_fill(torch.tensor(inputs["key_mask"]) == 0, -math.inf)
    probs, _ = reference.softmax_rows(masked, inputs["L"] - len(inputs["scaled_scores"]))
    (ds,) = torch.autograd.grad(probs, scores, torch.tensor(inputs["dP"], dtype=torch.float64))
    assert probs.tolist() == pytest.approx(expected["p"], abs=case["tolerance"])
    assert ds.tolist() == pytest.approx(expected["dS"], abs=case["tolerance"])


@pytest.mark.parametrize(
    ("scores", "n_absent", "probs", "denominator"),
    [
        ([0.0, 0.0], 2, [0.25, 0.25], 4.0),
        ([-math.inf, 0.0], 0, [0.0, 1.0], 1.0),
        ([-math.inf, -math.inf], 3, [0.0, 0.0], 3.0),
        ([-math.inf, -math.inf], 0, [0.0, 0.0], math.inf),  # nothing to attend to
        ([], 5, [], 5.0),
        ([], 0, [], math.inf),
    ],
)
def test_softmax_rows_by_hand(scores, n_absent, probs, denominator):
    got, lse = reference.softmax_rows(torch.tensor(scores, dtype=torch.float64), n_absent)
    assert got.tolist() == probs
    assert lse.item() == pytest.approx(math.log(denominator))


def test_minus_inf_is_the_softmax_of_the_masked_matrix():
    case = CASES["block_8"]
    q, k, v = case.inputs(torch.float64)
    scores = (q @ k.mT / 32**0.5).masked_fill(~case.pattern.to_token_mask(), -math.inf)
    out, lse = reference.block_attention(q, k, v, case.pattern, pruned="minus_inf")
    torch.testing.assert_close(out, scores.softmax(-1) @ v)
    torch.testing.assert_close(lse, scores.logsumexp(-1))


def test_zero_logit_is_the_softmax_with_zeros_that_then_loses_them():
    case = CASES["block_8"]
    q, k, v = case.inputs(torch.float64)
    stored = case.pattern.to_token_mask()
    probs = (q @ k.mT / 32**0.5).masked_fill(~stored, 0.0).softmax(-1)
    out, _ = reference.block_attention(q, k, v, case.pattern, pruned="zero_logit")
    torch.testing.assert_close(out, probs.masked_fill(~stored, 0.0) @ v)


@pytest.mark.parametrize("name", ["holes", "empty", "full", "packed", "no_batch"])
@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("padded", [False, True])
def test_by_rows_equals_the_dense_definition(name, pruned, padded):
    case = CASES[name]
    options = {
        "pattern": case.pattern,
        "pruned": pruned,
        "key_padding_mask": case.key_padding_mask() if padded else None,
        "dropout_p": 0.3,
        "dropout_seed": 11,
    }
    leaves = [x.requires_grad_() for x in case.inputs(torch.float64)]
    results = []
    for attend in (reference.block_attention, reference.block_attention_by_rows):
        out, lse = attend(*leaves, **options)
        loss = out.square().sum() + lse.masked_fill(lse.isinf(), 0.0).square().sum()
        results.append((out, lse, *torch.autograd.grad(loss, leaves)))
    torch.testing.assert_close(results[0], results[1])


def test_by_rows_computes_in_float64_and_returns_gradients_in_the_inputs_dtype():
    case = CASES["block_8"]
    leaves = [x.requires_grad_() for x in case.inputs(torch.float32)]
    out, lse = reference.block_attention_by_rows(*leaves, case.pattern, pruned="zero_logit")
    expected = reference.block_attention(
        *(x.double() for x in leaves), case.pattern, pruned="zero_logit"
    )
    torch.testing.assert_close((out, lse), expected)
    (dq,) = torch.autograd.grad(out.sum(), leaves[0])
    assert dq.dtype == torch.float32


class LargestTensor(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that any operation returned."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for x in tree_leaves(result):
            if isinstance(x, torch.Tensor):
                self.numel = max(self.numel, x.numel())
        return result


def test_by_rows_stores_no_dense_matrix():
    pattern = BlockPattern.band(512, 16, 1)
    leaves = [torch.randn(1, 1, 512, 4, requires_grad=True) for _ in range(3)]
    largest = LargestTensor()
    with largest:
        out, _ = reference.block_attention_by_rows(*leaves, pattern, pruned="minus_inf")
        torch.autograd.grad(out.sum(), leaves)
    assert largest.numel == leaves[0].numel()
