from dataclasses import replace

import pytest
import torch

from spion_bench.harness import kernel_attention
from spion_bench.harness.cases import find_case
from spion_bench.harness.kernel_attention import ATTENTIONS, bind, case_pattern, check_subject
from spion_bench.harness.kernel_limits import ATTENTION
from spion_bench.harness.kernel_sweeps import BASE
from spion_bench.model.attention import UnsupportedError

SMALL = replace(BASE, length=128, head_dim=16, block_size=16, density=0.3, heads=2)
UNCOMPILED = sorted(ATTENTIONS.keys() - {"flex_forward"})


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

    def wrong(case):
        bound = right(case)
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

    def watch(case):
        lengths.append(case.length)
        return right(case)

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
