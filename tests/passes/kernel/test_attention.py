from dataclasses import replace

import pytest
import torch

from baselines.flex import attention as flex
from spion_bench.model.attention import UnsupportedError
from spion_bench.passes.kernel import attention as kernel_attention
from spion_bench.passes.kernel.attention import (
    case_pattern,
    check_implementation,
    checked_length,
    mask_problem,
)
from spion_bench.suite.cases import find_case
from spion_bench.suite.cases.gpu import GPU_CASES
from spion_bench.suite.cases.sweeps import BASE
from spion_bench.suite.implementations import IMPLEMENTATIONS, find_implementation
from spion_bench.suite.methods import PEERS

SMALL = replace(BASE, length=128, head_dim=16, block_size=16, density=0.3, heads=2)
ATTENTION = {name for name, entry in IMPLEMENTATIONS.items() if entry.operator == "attention"}
UNCOMPILED = sorted(ATTENTION - {"flex", "flex_forward", "dense_xformers", *PEERS})
ON_GPU = replace(GPU_CASES[0], batch=3, length=128, block_size=16, density=0.3)


def bind(name, case, device="cpu"):
    return kernel_attention.bind(find_implementation(name), case, device)


def check(name, case, device="cpu"):
    return check_implementation(find_implementation(name), case, 0, device)


@pytest.fixture
def changed_function(monkeypatch):
    """Change the functions that implementations bind: ``change(function, case) -> function``."""
    right = kernel_attention.bind

    def install(change):
        def bind_changed(implementation, case, device):
            bound = right(implementation, case, device)
            return replace(bound, function=change(bound.function, case))

        monkeypatch.setattr(kernel_attention, "bind", bind_changed)

    return install


@pytest.mark.parametrize("name", UNCOMPILED)
def test_every_implementation_passes_its_gate(name):
    result = check(name, SMALL)
    assert result.reason is None
    names = [error.name for error in result.errors]
    assert ("dq" in names) is not find_implementation(name).forward_only


@pytest.mark.parametrize("name", ["block_attention", "sliding_window"])
def test_a_wrong_implementation_does_not_pass(name, changed_function):
    changed_function(lambda right, case: lambda q, k, v: right(q, k, v) * 1.001)
    assert "out is off" in check(name, SMALL).reason


def test_what_the_kernels_do_not_take_is_unsupported():
    case = replace(SMALL, dtype="float16")
    with pytest.raises(UnsupportedError, match=r"pipeline: expected float32 or .* got float16"):
        bind("pipeline", case)
    assert bind("block_attention", case).pattern is not None


def test_sixteen_bit_gate_allows_the_rounding_of_its_result():
    result = check("dense_sdpa", replace(SMALL, dtype="bfloat16"))
    assert result.reason is None
    out = result.errors[0]
    assert out.name == "out"
    assert out.error > 1e-4  # it was computed in bfloat16
    assert out.budget < 0.2


def test_a_long_case_is_checked_at_a_shorter_length(monkeypatch, changed_function):
    lengths = []

    def watch(right, case):
        lengths.append(case.length)
        return right

    changed_function(watch)
    monkeypatch.setattr(kernel_attention, "LONGEST_CHECK", 64)
    assert check("block_attention", SMALL).reason is None
    assert lengths == [64]


def test_band_cases_have_a_band():
    pattern = case_pattern(find_case("sweep_band_L1024"))
    assert pattern.nnzb == 3 * 16 - 2
    assert torch.equal(pattern.to_mask(), pattern.to_mask().T)


def test_rates_count_the_scores_that_are_needed():
    assert bind("dense_sdpa", SMALL).scores == 128**2
    assert bind("block_attention", SMALL).scores == SMALL.n_blocks * 16**2
    place = torch.arange(128)
    kept = (place[:, None] - place[None, :]).abs() <= SMALL.window // 2
    assert bind("sliding_window", SMALL).scores == int(kept.sum())


def test_xformers_without_a_gpu_is_unsupported_in_its_own_words():
    with pytest.raises(UnsupportedError, match=r"spion_bench\[xformers\]|not supported"):
        check("dense_xformers", SMALL)


@pytest.mark.parametrize("name", ["block_attention", "dense_sdpa"])
def test_a_case_of_a_gpu_is_checked_at_its_length_with_its_whole_batch(
    name, monkeypatch, changed_function
):
    shapes = []

    def watch(right, case):
        def attend(q, k, v):
            shapes.append((q.shape, q.transpose(1, 2).is_contiguous()))
            return right(q, k, v)

        return attend

    changed_function(watch)
    monkeypatch.setattr(kernel_attention, "LONGEST_CHECK", 64)
    assert checked_length(ON_GPU) == 128
    assert check(name, ON_GPU).reason is None
    assert set(shapes) == {((3, 2, 128, 32), True)}


def test_the_gate_of_a_gpu_sees_what_is_wrong_in_the_last_item_only(changed_function):
    def wrong(right, case):
        factor = torch.ones(case.batch, 1, 1, 1)
        factor[-1] = 1.01
        return lambda q, k, v: (right(q, k, v) * factor).half()

    changed_function(wrong)
    assert "out is off" in check("dense_sdpa", ON_GPU).reason


@pytest.mark.parametrize("dropped_bits", [13, 17])  # of the 23 of a float32; TF32 drops 13
def test_tf32_products_are_held_to_the_bits_of_tf32(dropped_bits, changed_function):
    def rounded(x):
        bits = x.detach().view(torch.int32) + (1 << dropped_bits >> 1)
        return x + ((bits >> dropped_bits << dropped_bits).view(torch.float32) - x).detach()

    def with_rounded_products(right, case):
        def attend(q, k, v):
            assert q.dtype == torch.float32
            return rounded(right(rounded(q), rounded(k), rounded(v)))

        return attend

    changed_function(with_rounded_products)
    case = replace(ON_GPU, dtype="float32", tf32=True)
    assert (check("block_attention", case).reason is None) is (dropped_bits == 13)


def test_the_mask_of_flex_attention_is_held_to_the_pattern(monkeypatch):
    pattern = case_pattern(SMALL)
    assert mask_problem(pattern) is None
    assert bind("flex", SMALL).problem is None
    other = case_pattern(replace(SMALL, density=0.4))
    right = flex.flex_block_mask
    monkeypatch.setattr(flex, "flex_block_mask", lambda given: right(other))
    assert "block lists" in check("flex", SMALL).reason

    def with_another_mask_mod(given):
        mask = right(given)
        mask.mask_mod = right(other).mask_mod
        return mask

    monkeypatch.setattr(flex, "flex_block_mask", with_another_mask_mod)
    assert "mask_mod" in check("flex", SMALL).reason


def test_sdpa_names_its_backend():
    q = torch.zeros(1, 1, 16, 8)
    assert bind("dense_sdpa", SMALL).chosen(q, q, q) == {"sdpa_backend": "FLASH_ATTENTION"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler imports modules that warn
def test_compiled_flex_attention_passes_the_gate():
    result = check("flex_forward", SMALL)
    assert result.reason is None
    assert [error.name for error in result.errors] == ["out"]


def test_a_method_says_of_itself_what_it_says_in_a_model():
    q = torch.zeros(1, 1, 128, 16)
    window = bind("sliding_window", SMALL)
    assert window.describe(q, q, q).caveats == list(type(window.method).caveats)
    assert window.method.window == SMALL.window
    assert bind("dense_sdpa", SMALL).describe(q, q, q).chosen.keys() == {"sdpa_backend"}
    assert bind("csr_pipeline", SMALL).describe(q, q, q).exact
