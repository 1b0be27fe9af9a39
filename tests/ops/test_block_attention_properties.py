import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from spion_bench.block_pattern import BlockPattern
from spion_bench.ops import block_attention, reference
from tests.ops.cases import CASES, IMPLEMENTATIONS, PRUNED, Case, random_pattern
from tests.ops.oracle import compare_attention, forward_backward


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("padded", [False, True])
def test_full_pattern_equals_dense_attention(pruned, padded, implementation):
    case = CASES["full"]
    q, k, v = case.inputs(torch.float64)
    mask = None
    if padded:
        mask = torch.ones(case.batch, 64, dtype=torch.bool)
        mask[:, 40:] = False
    out = block_attention(
        q, k, v, case.pattern, pruned=pruned, key_padding_mask=mask, implementation=implementation
    )
    dense_mask = None if mask is None else mask[:, None, None, :]
    torch.testing.assert_close(
        out, F.scaled_dot_product_attention(q, k, v, attn_mask=dense_mask), rtol=1e-12, atol=1e-12
    )


@st.composite
def problems(draw):
    """Draw a pattern of any density, shape, seed and implementation."""
    nb = draw(st.integers(1, 6))
    block_size = draw(st.sampled_from([8, 16, 32]))
    bits = draw(st.lists(st.booleans(), min_size=nb * nb, max_size=nb * nb))
    pattern = BlockPattern.from_mask(torch.tensor(bits).view(nb, nb), block_size)
    case = Case(
        pattern,
        batch=draw(st.integers(1, 3)),
        heads=draw(st.integers(1, 3)),
        width=draw(st.integers(1, 40)),
    )
    return case, draw(st.integers(0, 1000)), draw(st.sampled_from(IMPLEMENTATIONS))


@given(problem=problems(), pruned=st.sampled_from(PRUNED), seed=st.integers(0, 2**63 - 1))
def test_property_any_pattern_matches_the_oracle(problem, pruned, seed):
    case, _, implementation = problem
    compare_attention(
        case,
        torch.float32,
        implementation,
        pruned=pruned,
        **case.padding_and_dropout(0.2, seed),
    )


@given(problem=problems(), pruned=st.sampled_from(PRUNED))
def test_property_permuting_heads_permutes_outputs(problem, pruned):
    case, seed, implementation = problem
    q, k, v = case.inputs(torch.float32, seed)
    order = torch.randperm(case.heads)
    options = {"pattern": case.pattern, "pruned": pruned, "implementation": implementation}
    out = block_attention(q, k, v, **options)
    permuted = block_attention(q[:, order], k[:, order], v[:, order], **options)
    assert torch.equal(out[:, order], permuted)


@given(problem=problems())
def test_property_zero_logit_is_minus_inf_times_its_share_of_the_denominator(problem):
    # exp(lse) counts n_absent zeros: what is left of a row is sigmoid(lse - ln(n_absent)).
    case, seed, implementation = problem
    q, k, v = case.inputs(torch.float64, seed)
    options = {"pattern": case.pattern, "implementation": implementation, "return_lse": True}
    pruned_out, lse = block_attention(q, k, v, pruned="minus_inf", **options)
    zero_out, zero_lse = block_attention(q, k, v, pruned="zero_logit", **options)
    n_absent = (~case.pattern.to_token_mask()).sum(-1).double()
    empty = lse.isposinf()
    share = torch.sigmoid(lse.masked_fill(empty, -math.inf) - n_absent.log())
    torch.testing.assert_close(zero_out, pruned_out * share[..., None])
    total = torch.logaddexp(lse.masked_fill(empty, -math.inf), n_absent.log())
    torch.testing.assert_close(zero_lse, total)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_conventions_agree_when_nothing_is_pruned(implementation):
    case = CASES["full"]
    options = {"pattern": case.pattern, "implementation": implementation, "return_lse": True}
    q, k, v = case.inputs(torch.float32)
    for a, b in zip(
        block_attention(q, k, v, pruned="minus_inf", **options),
        block_attention(q, k, v, pruned="zero_logit", **options),
        strict=True,
    ):
        assert torch.equal(a, b)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_rows_without_keys(implementation):
    case = CASES["holes"]
    size, length = case.pattern.block_size, case.pattern.length
    empty = slice(size, 2 * size)
    leaves = [x.requires_grad_() for x in case.inputs(torch.float32)]
    for pruned, expected in (("minus_inf", math.inf), ("zero_logit", math.log(length))):
        out, lse = block_attention(
            *leaves, case.pattern, pruned=pruned, implementation=implementation, return_lse=True
        )
        assert torch.equal(out[:, :, empty], torch.zeros_like(out[:, :, empty]))
        assert lse[:, :, empty].unique().tolist() == pytest.approx([expected])
        dq, dk, dv = torch.autograd.grad(out.sum(), leaves)
        assert torch.equal(dq[:, :, empty], torch.zeros_like(dq[:, :, empty]))
        for grad in (dk, dv):  # no query attends to the last block column
            assert torch.equal(grad[:, :, -size:], torch.zeros_like(grad[:, :, -size:]))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", ["q", "k", "v"])
def test_nan_reaches_what_it_touches_and_nothing_else(name, implementation):
    pattern = BlockPattern.band(64, 16, 0)
    case = Case(pattern)
    inputs = dict(zip("qkv", case.inputs(torch.float32), strict=True))
    inputs[name][0, 0, 20, 3] = math.nan
    out = block_attention(
        **inputs, pattern=pattern, pruned="minus_inf", implementation=implementation
    )
    bad = torch.zeros(out.shape, dtype=torch.bool)
    if name == "q":
        bad[0, 0, 20] = True
    elif name == "k":
        bad[0, 0, 16:32] = True
    else:
        bad[0, 0, 16:32, 3] = True
    assert torch.equal(out.isnan(), bad)


@pytest.mark.parametrize("pruned", PRUNED)
def test_nan_in_the_gradient_propagates(pruned):
    case = CASES["block_8"]
    leaves = [x.requires_grad_() for x in case.inputs(torch.float32)]
    out = block_attention(*leaves, case.pattern, pruned=pruned)
    dout = torch.ones_like(out)
    dout[0, 0, 3, 0] = math.nan
    dq, dk, dv = torch.autograd.grad(out, leaves, dout)
    assert dq[0, 0, 3].isnan().all()
    assert not dq[1].isnan().any()
    assert dk[0, 0].isnan().any()
    assert dv[0, 0].isnan().any()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("pruned", PRUNED)
def test_large_scores_neither_overflow_nor_vanish(pruned, implementation):
    # Scores of +-2000 overflow exp in both dtypes; the running maximum must hold them.
    case = CASES["block_8"]
    q, k, v = case.inputs(torch.float64)
    options = {"pattern": case.pattern, "pruned": pruned}
    got = block_attention(
        q * 100, k, v, **options, implementation=implementation, scale=5.0, return_lse=True
    )
    expected = reference.block_attention(q * 100, k, v, **options, scale=5.0)
    torch.testing.assert_close(got, expected)
    assert got[0].isfinite().all()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [10.0, -30.0])
def test_errors_at_large_scales_are_those_of_rounding_scores(scale, dtype, implementation):
    # The fused operator's backward pass takes exp(score - lse) again, and scores reach hundreds:
    # its gradients are off by tens to hundreds of eps, in float64 by as many of its own.
    for pruned in PRUNED:
        compare_attention(CASES["three_blocks"], dtype, implementation, pruned=pruned, scale=scale)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", ["block_8", "one_head", "many_heads"])
def test_results_do_not_depend_on_the_number_of_threads(name, implementation):
    case = CASES[name]
    qkv = case.inputs(torch.float32)
    dout, dlse = torch.randn(qkv[0].shape), torch.randn(qkv[0].shape[:3])
    results = []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        results.append(
            forward_backward(
                block_attention,
                qkv,
                dout,
                dlse,
                pattern=case.pattern,
                pruned="zero_logit",
                dropout_p=0.1,
                dropout_seed=1,
                implementation=implementation,
                return_lse=True,
            )
        )
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], result, strict=True))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
# Of the seed 11, one value in the pattern is the threshold itself.
@pytest.mark.parametrize("seed", [0, 1, 11, 2**32, 2**63 - 1])
def test_dropout_mask_is_the_reference_mask(seed, implementation):
    # Uniform scores and one-hot values make each output the scaled mask itself.
    pattern = random_pattern(4, 8, 0.5)
    length = pattern.length
    q = torch.zeros(2, 3, length, length, dtype=torch.float64)
    v = torch.eye(length, dtype=torch.float64).expand_as(q)
    out = block_attention(
        q,
        q,
        v,
        pattern,
        pruned="minus_inf",
        dropout_p=0.4,
        dropout_seed=seed,
        implementation=implementation,
    )
    tokens = torch.arange(length)
    keep = reference.dropout_keep_mask(6, tokens, tokens, p=0.4, seed=seed).view(q.shape)
    assert torch.equal(out > 0, keep & pattern.to_token_mask())


def test_dropout_leaves_the_log_sum_exp_alone():
    case = CASES["block_8"]
    q, k, v = case.inputs(torch.float32)
    options = {"pattern": case.pattern, "pruned": "zero_logit", "return_lse": True}
    _, lse = block_attention(q, k, v, **options)
    _, with_dropout = block_attention(q, k, v, **options, dropout_p=0.5, dropout_seed=1)
    assert torch.equal(lse, with_dropout)
