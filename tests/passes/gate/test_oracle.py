import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import SpionAttention, dense_attention
from spion_bench.passes.gate.oracle import GateResult, GateSetup, check_attention
from spion_bench.passes.synthetic import band_and_stripes
from tests.cells import gate_errors

LENGTH, BLOCK = 64, 16
PATTERN = band_and_stripes(LENGTH, BLOCK, 7)
PLAIN = GateSetup(heads=4, length=LENGTH, head_dim=8, masked=False)
MASKED = GateSetup(heads=4, length=LENGTH, head_dim=8, masked=True)
FULL = BlockPattern.full(LENGTH, BLOCK)


@pytest.mark.parametrize("shape", [PLAIN, MASKED], ids=["plain", "masked"])
@pytest.mark.parametrize("pruned", ["minus_inf", "zero_logit"])
@pytest.mark.parametrize("implementation", ["fused", "pipeline"])
def test_correct_block_attention_passes(shape, pruned, implementation):
    attention = SpionAttention(pruned, PATTERN, implementation)
    result = check_attention(attention, shape, PATTERN, pruned)
    assert result.reason is None
    assert [error.name for error in result.errors] == ["out", "dq", "dk", "dv"]
    assert all(0 < error.error <= error.budget for error in result.errors)
    assert result.errors[0].budget < 1e-5


@pytest.mark.parametrize("shape", [PLAIN, MASKED], ids=["plain", "masked"])
def test_dense_attention_passes_with_the_full_pattern(shape):
    assert check_attention(dense_attention, shape, FULL, "minus_inf").reason is None


def test_the_other_softmax_convention_fails():
    attention = SpionAttention("zero_logit", PATTERN)
    result = check_attention(attention, PLAIN, PATTERN, "minus_inf")
    assert "out is off by" in result.reason
    assert not result.errors[0].is_within


def test_another_pattern_fails():
    attention = SpionAttention("minus_inf", BlockPattern.band(LENGTH, BLOCK, 0))
    assert check_attention(attention, PLAIN, PATTERN, "minus_inf").reason is not None


def test_a_wrong_gradient_alone_fails():
    def attention(q, k, v, mask):
        return dense_attention(q, k + 1e-3 * (k - k.detach()), v, mask)  # only dk is wrong

    reason = check_attention(attention, PLAIN, FULL, "minus_inf").reason
    assert reason.startswith("dk is off by")
    assert "out" not in reason


def test_ignoring_the_mask_fails():
    def attention(q, k, v, mask):
        return dense_attention(q, k, v)

    assert check_attention(attention, MASKED, FULL, "minus_inf").reason is not None


def test_nan_fails():
    def attention(q, k, v, mask):
        return dense_attention(q, k, v) * torch.tensor(float("nan"))

    assert "out is off by nan" in check_attention(attention, PLAIN, FULL, "minus_inf").reason


def test_severity_puts_failures_first():
    errors = dict.fromkeys(("out", "dq", "dk", "dv"), 0.1)
    fine = GateResult(gate_errors(**{**errors, "dk": 0.9}), None)
    finer = GateResult(gate_errors(**errors), None)
    failed = GateResult(gate_errors(**errors), "dq is off")
    assert sorted([failed, fine, finer], key=lambda r: r.severity) == [finer, fine, failed]
