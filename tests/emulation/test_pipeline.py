"""The pipeline's CUDA sources as attention, on the emulator, against oracle and CPU kernels."""

import math
import os
from functools import partial

import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.ops import block_attention
from tests.emulation.pipeline_cases import CASES, DTYPES, INSTANTIATIONS, emulated
from tests.ops import oracle
from tests.ops.cases import PRUNED, Case, as_strided_views
from tests.ops.cases import random_pattern as random
from tests.ops.oracle import NAMES, forward_backward

compare_attention = partial(
    oracle.compare_attention, implementation="pipeline", run=partial(emulated, forward_backward)
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_attention_and_its_gradients(case, pruned, dtype):
    compare_attention(case, dtype, pruned=pruned)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("name", ["block_16", "block_64", "block_128", "width_40", "holes"])
def test_attention_with_padding_and_dropout(name, pruned, dtype):
    case = CASES[name]
    compare_attention(case, dtype, pruned=pruned, **case.padding_and_dropout())


@pytest.mark.skipif(
    os.environ.get("HYPOTHESIS_PROFILE") != "nightly", reason="the full matrix: nox -s nightly"
)
@pytest.mark.parametrize("dropout_p", [0.0, 0.25])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize(("block", "width"), INSTANTIATIONS)
def test_every_instantiation(block, width, pruned, dtype, dropout_p):
    case = Case(random(4, block, 0.5), heads=2, width=width, layout=as_strided_views)
    compare_attention(
        case,
        dtype,
        pruned=pruned,
        key_padding_mask=case.key_padding_mask(),
        dropout_p=dropout_p,
        dropout_seed=7,
    )


@pytest.mark.parametrize("pruned", PRUNED)
def test_follows_the_cpu_kernels(pruned):
    case = CASES["holes"]
    qkv = case.inputs(torch.float32)
    dout, dlse = torch.randn(qkv[0].shape), torch.randn(qkv[0].shape[:3])
    options = {"pattern": case.pattern, "pruned": pruned, "implementation": "pipeline"}
    options |= {"return_lse": True, "dropout_p": 0.2, "dropout_seed": 5}
    options["key_padding_mask"] = case.key_padding_mask()
    got = emulated(forward_backward, block_attention, qkv, dout, dlse, **options)
    expected = forward_backward(block_attention, qkv, dout, dlse, **options)
    for name, g, e in zip(NAMES, got, expected, strict=True):
        torch.testing.assert_close(g, e, rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_depend_on_nothing_but_the_inputs(dtype, monkeypatch):
    case = CASES["holes"]
    dout = torch.randn(case.inputs(dtype)[0].shape).to(dtype)
    options = {"pattern": case.pattern, "pruned": "zero_logit", "implementation": "pipeline"}
    options |= {"return_lse": True, "dropout_p": 0.1, "dropout_seed": 1}
    results = []
    for threads, seed in (("1", "0"), ("2", "0"), ("2", "3")):
        monkeypatch.setenv("EMU_THREADS", threads)
        monkeypatch.setenv("EMU_SEED", seed)
        grads = (dout, torch.ones(dout.shape[:3]))
        qkv = case.inputs(dtype)
        results.append(emulated(forward_backward, block_attention, qkv, *grads, **options))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_nan_reaches_what_it_touches_and_nothing_else():
    pattern = BlockPattern.band(64, 16, 0)
    q, k, v = Case(pattern, width=32).inputs(torch.float16)
    k[0, 0, 20, 3] = math.nan
    options = {"pruned": "minus_inf", "implementation": "pipeline"}
    out = emulated(block_attention, q, k, v, pattern, **options)
    bad = torch.zeros(out.shape, dtype=torch.bool)
    bad[0, 0, 16:32] = True
    assert torch.equal(out.isnan(), bad)
