import math
import re

import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.native import library
from spion_bench.ops import block_softmax, reference
from tests.budgets import assert_within_budget
from tests.ops.cases import CASES, PRUNED, Case, golden


def random_tiles(case, dtype=torch.float64):
    size = case.pattern.block_size
    shape = (case.batch, case.heads, case.pattern.nnzb, size, size)
    return (3 * torch.randn(shape)).to(dtype)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_matches_the_oracle(case, pruned, dtype, padded):
    def run(op, dtype):
        x = scores.detach().to(dtype).requires_grad_()
        probs, lse = op(x, case.pattern, pruned=pruned, key_padding_mask=mask)
        (dscores,) = torch.autograd.grad((probs, lse), x, (dprobs.to(dtype), dlse.to(dtype)))
        return probs.detach(), lse.detach(), dscores

    scores, dprobs = random_tiles(case, dtype), random_tiles(case, dtype)
    dlse = torch.randn(case.batch, case.heads, case.pattern.length).to(dtype)
    mask = case.key_padding_mask() if padded else None
    got = run(block_softmax, dtype)
    expected = [run(reference.block_softmax, d) for d in (dtype, torch.float64)]
    for name, g, ref, oracle in zip(("probs", "lse", "dscores"), got, *expected, strict=True):
        assert_within_budget(name, g, ref, oracle)


@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("padded", [False, True])
def test_gradcheck(pruned, padded):
    case = Case(CASES["three_blocks"].pattern, batch=1, heads=1)
    mask = torch.rand(1, case.pattern.length) > 0.3 if padded else None
    scores = random_tiles(case).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s: block_softmax(s, case.pattern, pruned=pruned, key_padding_mask=mask),
        scores,
        fast_mode=True,
    )


@pytest.mark.parametrize("output", [0, 1])
def test_gradient_of_either_output_alone(output):
    case = CASES["block_8"]
    scores = random_tiles(case).requires_grad_()
    grads = [
        torch.autograd.grad(op(scores, case.pattern, pruned="zero_logit")[output].sum(), scores)
        for op in (block_softmax, reference.block_softmax)
    ]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("name", ["holes", "no_batch"])
@pytest.mark.parametrize("pruned", PRUNED)
def test_opcheck(name, pruned):
    library.load()
    case, ops = CASES[name], torch.ops.spion_bench
    indices = (case.pattern.crow_indices, case.pattern.col_indices, case.pattern.block_size)
    options = (pruned == "zero_logit", case.key_padding_mask())
    scores = random_tiles(case, torch.float32)
    torch.library.opcheck(
        ops.block_softmax.default, (scores.clone().requires_grad_(), *indices, *options)
    )
    probs, lse = ops.block_softmax(scores, *indices, *options)
    for dlse in (None, torch.randn_like(lse)):
        torch.library.opcheck(
            ops.block_softmax_backward.default, (scores, dlse, probs, indices[0], indices[2])
        )


ROWS = {
    "softmax_row_4tokens": 4,
    "softmax_row_4tokens_masked": 4,
    "softmax_row_full": 8,
    "softmax_row_all_padding_sparse": 4,
    "softmax_edge_underflow_unmasked": 4,
    "softmax_edge_negative_masked": 4,
    "softmax_edge_full_row_below_minus_100": 4,
    "softmax_edge_full_row_all_padding": 4,
}


def golden_row(case_id):
    """Run one golden row with every token repeated until its stored columns fill blocks of 8.

    With r copies of all tokens, stored and absent, each copy's probability and gradient is 1/r of
    the original's. Returns p and dS of the original row, and the golden case.
    """
    case, copies = golden(case_id), ROWS[case_id]
    inputs = case["inputs"]
    row = torch.tensor(inputs["scaled_scores"], dtype=torch.float64).repeat_interleave(copies)
    nb, kept = inputs["L"] * copies // 8, row.numel() // 8
    pattern = BlockPattern.from_mask((torch.arange(nb) < kept).expand(nb, nb), 8)
    row_of_tiles = row.view(kept, 1, 8).expand(kept, 8, 8)  # 8 equal query rows
    scores = row_of_tiles.repeat(nb, 1, 1)[None, None].requires_grad_()
    mask = None
    if inputs["key_mask"] is not None:
        mask = torch.zeros(1, nb * 8, dtype=torch.bool)
        mask[0, : row.numel()] = torch.tensor(inputs["key_mask"]).repeat_interleave(copies) > 0
    probs, _ = block_softmax(scores, pattern, pruned="zero_logit", key_padding_mask=mask)
    dprobs = torch.zeros_like(probs)
    if inputs.get("dP") is not None:
        dp = torch.tensor(inputs["dP"], dtype=torch.float64).repeat_interleave(copies)
        dprobs[0, 0, :kept, 0] = dp.view(kept, 8)
    (dscores,) = torch.autograd.grad(probs, scores, dprobs)
    first_row = [x[0, 0, :kept, 0].flatten().unflatten(0, (-1, copies)) for x in (probs, dscores)]
    return [x.detach().sum(1) for x in first_row], case


@pytest.mark.parametrize("case_id", list(ROWS)[:4])
def test_golden_rows(case_id):
    (p, ds), case = golden_row(case_id)
    assert p.tolist() == pytest.approx(case["expected"]["p"], abs=case["tolerance"])
    assert p.sum().item() == pytest.approx(case["expected"].get("row_sum", p.sum().item()))
    assert ds.tolist() == pytest.approx(case["expected"]["dS"], abs=case["tolerance"])


def test_golden_edge_negative_scores():
    # The published kernels disagree with each other here: the unmasked one overflows exp(-max) in
    # float32 and writes zeros, the masked one starts its maximum at 0. Ours follows the formula.
    for case_id in ("softmax_edge_underflow_unmasked", "softmax_edge_negative_masked"):
        (p, _), _ = golden_row(case_id)
        true = golden("softmax_edge_negative_masked")["expected"]["p_true"]
        assert p.tolist() == pytest.approx(true, rel=1e-6)


def test_golden_edge_full_row_of_very_low_scores():
    # Deviation: the published kernel starts its maximum at -100 and divides 0 by 0. Exactly, a row
    # without absent columns is an ordinary softmax, whatever is added to all its scores.
    (p, _), case = golden_row("softmax_edge_full_row_below_minus_100")
    assert case["expected"]["p"] == "nan"
    assert p.tolist() == pytest.approx([math.e / (math.e + 1), 1 / (math.e + 1)])


def test_golden_edge_full_row_of_padding():
    # Deviation: the published kernel computes 0 * inf. A row that attends to nothing is 0 here.
    (p, ds), case = golden_row("softmax_edge_full_row_all_padding")
    assert case["expected"]["p"] == "nan"
    assert p.tolist() == [0.0, 0.0]
    assert ds.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_very_low_scores_leave_everything_to_the_pruned_zeros(dtype):
    # exp(1000), what one zero weighs next to such a score, overflows in both dtypes.
    case = CASES["holes"]
    scores = torch.full_like(random_tiles(case, dtype), -1000.0)
    probs, lse = block_softmax(scores, case.pattern, pruned="zero_logit")
    assert not probs.any()
    n_absent = (~case.pattern.to_token_mask()).sum(-1).to(dtype)
    torch.testing.assert_close(lse, n_absent.log().expand_as(lse))


def test_rows_without_a_denominator():
    case = CASES["full"]
    mask = torch.zeros(case.batch, case.pattern.length, dtype=torch.bool)
    scores = random_tiles(case).requires_grad_()
    for pruned in PRUNED:
        probs, lse = block_softmax(scores, case.pattern, pruned=pruned, key_padding_mask=mask)
        (dscores,) = torch.autograd.grad((probs.sum() + lse[..., 0].sum()), scores)
        assert not probs.any()
        assert lse.isposinf().all()
        assert not dscores.any()


def test_nan_stays_in_its_row():
    case = CASES["block_8"]
    scores = random_tiles(case, torch.float32)
    scores[0, 0, 0, 2, 5] = math.nan
    probs, lse = block_softmax(scores, case.pattern, pruned="zero_logit")
    assert lse.isnan().nonzero().tolist() == [[0, 0, 2]]
    row = slice(0, int(case.pattern.crow_indices[1]))
    assert probs[0, 0, row, 2].isnan().all()
    assert probs.isnan().sum() == probs[0, 0, row, 2].numel()


TILES = torch.zeros(1, 1, 2, 64, 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": TILES.half()}, "scores: expected float32 or float64, got float16"),
        (
            {"scores": TILES[:, :, :1]},
            "scores: expected [B, H, nnzb=2, S=64, S=64] as the pattern, got [1, 1, 1, 64, 64]",
        ),
        ({"scores": TILES.mT}, "scores: expected contiguous tiles, got strides"),
        ({"pruned": "zero"}, 'pruned: expected "minus_inf" or "zero_logit", got \'zero\''),
        (
            {"key_padding_mask": torch.ones(1, 64, dtype=torch.bool)},
            "key_padding_mask: expected shape [B=1, L=128], got [1, 64]",
        ),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {
        "scores": TILES,
        "pattern": BlockPattern.band(128, 64, 0),
        "pruned": "minus_inf",
    }
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        block_softmax(**(arguments | change))
