from dataclasses import replace

import pytest
import torch

from baselines import flex
from spion_bench.model.attention import UnsupportedError
from spion_bench.native.library import BuildError
from spion_bench.passes.kernel import attention as kernel_attention
from spion_bench.passes.kernel.attention import (
    ATTENTIONS,
    bind,
    case_pattern,
    check_subject,
    checked_length,
    mask_problem,
)
from spion_bench.suite.cases import find_case
from spion_bench.suite.cases.gpu import GPU_CASES
from spion_bench.suite.cases.limits import ATTENTION
from spion_bench.suite.cases.sweeps import BASE

SMALL = replace(BASE, length=128, head_dim=16, block_size=16, density=0.3, heads=2)
UNCOMPILED = sorted(ATTENTIONS.keys() - {"flex", "flex_forward", "dense_xformers"})
ON_GPU = replace(GPU_CASES[0], batch=3, length=128, block_size=16, density=0.3)


def test_the_limits_know_every_attention_subject():
    assert set(ATTENTION) == ATTENTIONS.keys()


@pytest.mark.parametrize("subject", UNCOMPILED)
def test_every_subject_passes_its_gate(subject):
    result = check_subject(subject, SMALL, 0)
    assert result.reason is None
    is_forward = subject.endswith("_forward")
    assert ("dq" in result.errors) is not is_forward


@pytest.mark.parametrize("subject", ["block_attention", "sliding_window"])
def test_a_wrong_subject_does_not_pass(subject, monkeypatch):
    right = ATTENTIONS[subject]

    def wrong(case, device):
        bound = right(case, device)
        return replace(bound, function=lambda q, k, v: bound.function(q, k, v) * 1.001)

    monkeypatch.setitem(kernel_attention.ATTENTIONS, subject, wrong)
    assert "out is off" in check_subject(subject, SMALL, 0).reason


def test_a_dtype_that_the_operator_refuses_is_unsupported(monkeypatch):
    def refuse(q, *rest, **options):
        raise ValueError(f"q: expected float32, got {q.dtype}")

    monkeypatch.setattr(kernel_attention, "block_attention", refuse)
    case = replace(SMALL, dtype="float16")
    with pytest.raises(UnsupportedError, match=r"expected float32, got torch\.float16"):
        bind("block_attention", case)
    assert bind("block_attention_float32", case).pattern is not None


def test_sixteen_bit_gate_allows_the_rounding_of_its_result():
    result = check_subject("dense_sdpa", replace(SMALL, dtype="bfloat16"), 0)
    assert result.reason is None
    assert result.errors["out"] > 1e-4  # it was computed in bfloat16
    assert result.errors["out_budget"] < 0.2


def test_a_long_case_is_checked_at_a_shorter_length(monkeypatch):
    lengths = []
    right = ATTENTIONS["block_attention"]

    def watch(case, device):
        lengths.append(case.length)
        return right(case, device)

    monkeypatch.setitem(kernel_attention.ATTENTIONS, "block_attention", watch)
    monkeypatch.setattr(kernel_attention, "LONGEST_CHECK", 64)
    assert check_subject("block_attention", SMALL, 0).reason is None
    assert lengths == [64]


def test_band_cases_have_a_band():
    pattern = case_pattern(find_case("sweep_band_L1024"))
    assert pattern.nnzb == 3 * 16 - 2
    assert torch.equal(pattern.to_mask(), pattern.to_mask().T)


def test_rates_count_the_scores_that_are_needed():
    assert bind("dense_sdpa", SMALL).scores == 128**2
    assert bind("block_attention", SMALL).scores == SMALL.n_blocks * 16**2
    place = torch.arange(128)
    kept = (place[:, None] - place[None, :]).abs() <= SMALL.window
    assert bind("sliding_window", SMALL).scores == int(kept.sum())


def test_xformers_without_a_gpu_is_unsupported_in_its_own_words():
    with pytest.raises(UnsupportedError, match=r"spion_bench\[xformers\]|not supported"):
        check_subject("dense_xformers", SMALL, 0)


@pytest.mark.parametrize("subject", ["block_attention", "dense_sdpa"])
def test_a_case_of_a_gpu_is_checked_at_its_length_with_its_whole_batch(subject, monkeypatch):
    right, shapes = ATTENTIONS[subject], []

    def watch(case, device):
        bound = right(case, device)

        def attend(q, k, v):
            shapes.append((q.shape, q.transpose(1, 2).is_contiguous()))
            return bound.function(q, k, v)

        return replace(bound, function=attend)

    monkeypatch.setitem(kernel_attention.ATTENTIONS, subject, watch)
    monkeypatch.setattr(kernel_attention, "LONGEST_CHECK", 64)
    assert checked_length(ON_GPU) == 128
    assert check_subject(subject, ON_GPU, 0).reason is None
    assert set(shapes) == {((3, 2, 128, 32), True)}


def test_the_gate_of_a_gpu_sees_what_is_wrong_in_the_last_item_only(monkeypatch):
    right = ATTENTIONS["dense_sdpa"]

    def wrong(case, device):
        bound = right(case, device)
        factor = torch.ones(case.batch, 1, 1, 1)
        factor[-1] = 1.01
        return replace(bound, function=lambda q, k, v: (bound.function(q, k, v) * factor).half())

    monkeypatch.setitem(kernel_attention.ATTENTIONS, "dense_sdpa", wrong)
    assert "out is off" in check_subject("dense_sdpa", ON_GPU, 0).reason


@pytest.mark.parametrize("dropped_bits", [13, 17])  # of the 23 of a float32; TF32 drops 13
def test_tf32_products_are_held_to_the_bits_of_tf32(dropped_bits, monkeypatch):
    def rounded(x):
        bits = x.detach().view(torch.int32) + (1 << dropped_bits >> 1)
        return x + ((bits >> dropped_bits << dropped_bits).view(torch.float32) - x).detach()

    def with_rounded_products(case, device):
        bound = kernel_attention.ATTENTIONS["block_attention"](case, device)

        def attend(q, k, v):
            assert q.dtype == torch.float32
            return rounded(bound.function(rounded(q), rounded(k), rounded(v)))

        return replace(bound, function=attend)

    monkeypatch.setitem(kernel_attention.ATTENTIONS, "rounded", with_rounded_products)
    case = replace(ON_GPU, dtype="float32", tf32=True)
    assert (check_subject("rounded", case, 0).reason is None) is (dropped_bits == 13)


def test_the_mask_of_flex_attention_is_held_to_the_pattern(monkeypatch):
    pattern = case_pattern(SMALL)
    assert mask_problem(pattern) is None
    assert bind("flex", SMALL).problem is None
    other = case_pattern(replace(SMALL, density=0.4))
    right = flex.flex_block_mask
    monkeypatch.setattr(flex, "flex_block_mask", lambda given: right(other))
    assert "block lists" in check_subject("flex", SMALL, 0).reason

    def with_another_mask_mod(given):
        mask = right(given)
        mask.mask_mod = right(other).mask_mod
        return mask

    monkeypatch.setattr(flex, "flex_block_mask", with_another_mask_mod)
    assert "mask_mod" in check_subject("flex", SMALL, 0).reason


def test_sdpa_names_its_backend():
    q = torch.zeros(1, 1, 16, 8)
    assert bind("dense_sdpa", SMALL).chosen(q, q, q) == {"sdpa_backend": "FLASH_ATTENTION"}


def test_on_a_gpu_kernels_that_cannot_be_built_are_unsupported_with_the_reason(monkeypatch):
    def fail(device):
        raise BuildError(f"no CUDA compiler for {device}")

    monkeypatch.setattr(kernel_attention.library, "load", fail)
    with pytest.raises(UnsupportedError, match="no CUDA compiler for cuda"):
        bind("block_attention", ON_GPU, "cuda")
