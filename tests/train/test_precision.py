"""Training in 16 bits, for real on the CPU; what only CUDA has is refused there."""

import pytest
import torch
from torch import nn

from spion_bench.model import attention as attention_module
from spion_bench.model.attention import UnsupportedError
from spion_bench.train.phases import update_weights
from spion_bench.train.precision import Arithmetic
from tests.train.tiny import run, tiny_settings

CPU = torch.device("cpu")
HALVES = ["bfloat16", "float16"]


def settings(precision):
    return tiny_settings().model_copy(update={"precision": precision})


def test_tf32_is_refused_where_there_is_none():
    with pytest.raises(UnsupportedError, match="tf32 is a way in which CUDA GPUs multiply, cpu"):
        Arithmetic("tf32", CPU)


@pytest.mark.parametrize("precision", HALVES)
def test_training_runs_the_kernels_of_its_type_and_stays_near_float32(
    precision, tmp_path, monkeypatch
):
    taken = set()
    real = attention_module.block_attention

    def spy(q, *rest, **options):
        out = real(q, *rest, **options)
        taken.add((q.dtype, out.dtype))
        return out

    monkeypatch.setattr(attention_module, "block_attention", spy)
    result = run("spion_cf", tmp_path / "half", settings(precision))
    dtype = getattr(torch, precision)
    assert result.transition.is_spion
    assert taken == {(dtype, dtype)}
    exact = run("spion_cf", tmp_path / "exact", settings("float32"))
    assert taken == {(dtype, dtype), (torch.float32, torch.float32)}
    first = [result.curve[0].train_loss, exact.curve[0].train_loss]
    assert first[0] != first[1]
    assert first[0] == pytest.approx(first[1], rel=0.02)
    assert result.final_loss == pytest.approx(exact.final_loss, rel=0.1)


def test_another_precision_is_another_run(tmp_path):
    run("spion_cf", tmp_path, settings("bfloat16"))
    with pytest.raises(RuntimeError, match=r"belongs to another run .*precision"):
        run("spion_cf", tmp_path, settings("float32"))


def test_the_scale_is_part_of_a_checkpoint(tmp_path):
    run("spion_cf", tmp_path, settings("float16"))
    assert '"scale": 65536.0' in (tmp_path / "manifest.json").read_text()


@pytest.mark.parametrize("gradient", [3.0, float("inf")])
def test_a_scaled_gradient_steps_as_it_is_and_one_that_overflows_lowers_the_scale(gradient):
    weight = nn.Parameter(torch.zeros(1))
    scaler = Arithmetic("float16", CPU).scaler()
    optimizer = torch.optim.SGD([weight], lr=1.0)
    update_weights((weight * gradient).sum(), nn.ParameterList([weight]), optimizer, scaler, 2.0)
    overflows = gradient == float("inf")
    assert weight.item() == (0.0 if overflows else -2.0)  # clipped after it was unscaled
    assert scaler.get_scale() == (32768.0 if overflows else 65536.0)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_only_float16_scales_its_loss(precision):
    assert not Arithmetic(precision, CPU).scaler().is_enabled()
