"""The CUDA kernels' own sources, on the emulator, against the float64 oracle."""

import math
import os

import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.native import library
from spion_bench.ops import block_attention, block_softmax, reference
from tests.emulation.pipeline_cases import DTYPES, INSTANTIATIONS
from tests.ops.cases import PRUNED, Case, as_expanded, as_packed_slice, as_strided_views, holes
from tests.ops.cases import random_pattern as random
from tests.ops.oracle import compare_attention, forward_backward

HALF = [torch.float16, torch.bfloat16]

pytestmark = pytest.mark.usefixtures("emulated_backend")


def one_long_column(block_size):
    """Keep the diagonal and one full column, which is cut in three; one row keeps nothing."""
    mask = torch.eye(20, dtype=torch.bool)
    mask[:, 3] = True
    mask[5] = False
    return BlockPattern.from_mask(mask, block_size)


# A fast subset: every block size, head width and code path, not every combination of them.
CASES = {
    "block_16": Case(random(5, 16, 0.5), width=32),  # one warp per tile
    "block_32": Case(random(5, 32, 0.3), heads=1, width=32, layout=as_strided_views),
    "block_64": Case(random(4, 64, 0.3), heads=1, width=32, layout=as_packed_slice),
    "block_128": Case(random(2, 128, 0.4), heads=1, width=32),  # two tiles by two steps
    "width_64": Case(random(3, 32, 0.4), heads=1, width=64),
    "width_128": Case(random(3, 32, 0.4), heads=1, width=128),
    "width_5": Case(random(3, 16, 0.4), width=5),  # padded by a copy
    "width_40": Case(random(3, 16, 0.4), width=40),  # padded in shared memory
    "holes": Case(holes(5, 16), width=32),  # an empty row and an empty column
    "empty": Case(BlockPattern.from_mask(torch.zeros(2, 2), 16), width=32),
    "full": Case(BlockPattern.full(96, 16), heads=1, width=32),
    "expanded": Case(random(3, 16, 0.4), width=32, layout=as_expanded),
    "long_column": Case(one_long_column(16), width=32),
    "many_heads": Case(random(3, 16, 0.5), batch=4, heads=4, width=32),  # columns are not cut
    "no_batch": Case(random(3, 16, 0.5), batch=0, width=32),
}
EXTRAS = ["plain", "padded", "padded-dropout"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_matches_the_oracle(case, pruned, dtype):
    compare_attention(case, dtype, pruned=pruned)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize(
    "name", ["block_16", "block_64", "block_128", "width_128", "long_column", "holes"]
)
def test_matches_the_oracle_with_padding_and_dropout(name, pruned, dtype):
    case = CASES[name]
    compare_attention(case, dtype, pruned=pruned, **case.padding_and_dropout())


@pytest.mark.skipif(
    os.environ.get("HYPOTHESIS_PROFILE") != "nightly", reason="the full matrix: nox -s nightly"
)
@pytest.mark.parametrize(
    ("is_padded", "dropout_p"), [(False, 0.0), (True, 0.0), (True, 0.25)], ids=EXTRAS
)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize(("block", "width"), INSTANTIATIONS)
def test_every_instantiation_matches_the_oracle(block, width, pruned, dtype, is_padded, dropout_p):
    case = Case(random(4, block, 0.5), heads=2, width=width, layout=as_strided_views)
    compare_attention(
        case,
        dtype,
        pruned=pruned,
        key_padding_mask=case.key_padding_mask() if is_padded else None,
        dropout_p=dropout_p,
        dropout_seed=7,
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("scale", [-0.4, 0.0, 0.7])
def test_scales(scale, dtype):
    compare_attention(CASES["block_16"], dtype, pruned="zero_logit", scale=scale)


@pytest.mark.parametrize("seed", [0, 2**32 + 5, 2**63 - 1])
def test_dropout_mask_is_the_reference_mask(seed):
    # Uniform scores and one-hot values make each output the scaled mask itself.
    pattern = random(4, 16, 0.5)
    length = pattern.length
    q = torch.zeros(2, 3, length, length)
    v = torch.eye(length).expand_as(q)
    out = block_attention(q, q, v, pattern, pruned="minus_inf", dropout_p=0.4, dropout_seed=seed)
    tokens = torch.arange(length)
    keep = reference.dropout_keep_mask(6, tokens, tokens, p=0.4, seed=seed).view(q.shape)
    assert torch.equal(out > 0, keep & pattern.to_token_mask())


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_depend_on_nothing_but_the_inputs(dtype, monkeypatch):
    case = CASES["long_column"]
    dout = torch.randn(case.inputs(dtype)[0].shape).to(dtype)
    results = []
    for threads, seed in (("1", "0"), ("2", "0"), ("2", "3")):
        monkeypatch.setenv("EMU_THREADS", threads)
        monkeypatch.setenv("EMU_SEED", seed)
        options = {"pattern": case.pattern, "pruned": "zero_logit", "return_lse": True}
        options |= {"dropout_p": 0.1, "dropout_seed": 1}
        lse_grad = torch.ones(dout.shape[:3])
        results.append(
            forward_backward(block_attention, case.inputs(dtype), dout, lse_grad, **options)
        )
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_tf32_is_for_those_who_ask_torch_for_it(allow_tf32):
    case = CASES["width_64"]
    q, k, v = case.inputs(torch.float32)
    doubles = [x.double() for x in (q, k, v)]
    exact, _ = reference.block_attention(*doubles, case.pattern, pruned="minus_inf")
    errors = []
    for allow in (lambda: None, allow_tf32):
        allow()
        out = block_attention(q, k, v, case.pattern, pruned="minus_inf")
        errors.append(((out.double() - exact).abs().max() / exact.abs().max()).item())
    assert errors[0] < 1e-5 < errors[1] < 2**-9


def test_nan_reaches_what_it_touches_and_nothing_else():
    q, k, v = Case(BlockPattern.band(64, 16, 0), width=32).inputs(torch.float16)
    k[0, 0, 20, 3] = math.nan
    out = block_attention(q, k, v, BlockPattern.band(64, 16, 0), pruned="minus_inf")
    bad = torch.zeros(out.shape, dtype=torch.bool)
    bad[0, 0, 16:32] = True
    assert torch.equal(out.isnan(), bad)


def test_large_scores_neither_overflow_nor_vanish():
    case = CASES["block_16"]
    q, k, v = case.inputs(torch.float32)
    options = {"pattern": case.pattern, "pruned": "zero_logit", "scale": 5.0}
    out, lse = block_attention(q * 100, k, v, **options, return_lse=True)
    doubles = [x.double() for x in (q * 100, k, v)]
    exact, exact_lse = reference.block_attention(*doubles, **options)
    assert out.isfinite().all()
    torch.testing.assert_close(lse.double(), exact_lse, rtol=1e-5, atol=0)
    assert ((out.double() - exact).abs() > 1e-2).double().mean() < 0.01


@pytest.mark.parametrize(
    ("shape", "dtype", "block_size", "message"),
    [
        ((1, 1, 32, 32), torch.float64, 16, "q: expected float32 or bfloat16 or float16, got"),
        ((1, 1, 32, 32), torch.float32, 8, "q: expected blocks of 16, 32, 64 or 128 tokens on CU"),
        ((1, 1, 32, 136), torch.float32, 16, "q: expected a head width D from 1 to 128 on CUDA"),
        ((2, 40_000, 16, 1), torch.float32, 16, "q: expected at most 65535 batch items times he"),
    ],
)
def test_what_the_kernels_lack_is_refused(shape, dtype, block_size, message):
    q = torch.zeros(shape[2:], dtype=dtype).expand(shape)
    with pytest.raises(ValueError, match=message):
        block_attention(q, q, q, BlockPattern.full(shape[2], block_size), pruned="minus_inf")


def test_operators_that_the_backend_lacks_are_refused(monkeypatch):
    monkeypatch.setattr(library, "OPERATORS", ())
    pattern = BlockPattern.full(32, 16)
    with pytest.raises(RuntimeError, match='backend "emulated": only block_attention'):
        block_softmax(torch.zeros(1, 1, 4, 16, 16), pattern, pruned="minus_inf")


def test_unknown_backends_are_refused():
    with (
        pytest.raises(ValueError, match='backend: expected "cpu" or "emulated", got \'gpu\''),
        library.use_backend("gpu"),
    ):
        pass


def test_the_backend_ends_with_its_block():
    with library.use_backend("cpu"):
        assert library.operator("block_spmm") is torch.ops.spion_bench.block_spmm
    assert library.operator("block_spmm") is torch.ops.spion_bench_emulated.block_spmm
    for name in library.OPERATORS:
        schemas = [
            str(getattr(ops, name).default._schema).partition("::")[2]
            for ops in (torch.ops.spion_bench, torch.ops.spion_bench_emulated)
        ]
        assert schemas[0] == schemas[1]
    with pytest.raises(RuntimeError, match='backend "emulated": only block_attention'):
        library.load()


def test_opcheck():
    case = CASES["holes"]
    q, k, v = (x.requires_grad_() for x in case.inputs(torch.float32))
    indices = (*case.pattern.index_tensors, case.pattern.block_size)
    torch.library.opcheck(
        torch.ops.spion_bench_emulated.block_attention_forward.default,
        (q, k, v, *indices, 1, False, True, case.key_padding_mask(), 0.2, 0.1, 3),
    )
