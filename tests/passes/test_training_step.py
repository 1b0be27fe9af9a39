import json

import pytest
import torch

from spion_bench.measure.memory import clear_refs_problem
from spion_bench.model.attention import UnsupportedError
from spion_bench.passes.gate.oracle import GateResult
from spion_bench.passes.memory import measure_memory
from spion_bench.passes.speed import SpeedSession
from spion_bench.passes.subject import Subject, prepare_subject
from spion_bench.passes.training_step import NonFiniteStepError, TrainingStep
from tests.cells import method_job, tiny_job

MODEL = {"layers": 2}


@pytest.fixture
def step(tmp_path):
    return TrainingStep(prepare_subject(tiny_job(tmp_path, "speed", model=MODEL)))


def weights(step):
    return {name: weight.clone() for name, weight in step.model.state_dict().items()}


def test_a_step_changes_every_weight(step):
    before = weights(step)
    step.run()
    after = weights(step)
    assert [name for name in before if torch.equal(before[name], after[name])] == []


def test_the_same_seed_gives_the_same_step(tmp_path, step):
    other = TrainingStep(prepare_subject(tiny_job(tmp_path, "speed", model=MODEL)))
    torch.manual_seed(7)
    step.run()
    torch.manual_seed(7)
    other.run()
    ours, theirs = weights(step), weights(other)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_forward_and_attention_alone_change_nothing(step):
    before = weights(step)
    step.run_forward()
    step.run_attention()
    assert all(torch.equal(w, before[name]) for name, w in step.model.state_dict().items())
    assert all(parameter.grad is None for parameter in step.model.parameters())


def test_forgotten_gradients_are_gone(step):
    step.run()
    step.forget_gradients()
    assert all(parameter.grad is None for parameter in step.model.parameters())


def test_flops_follow_a_methods_own_mask(tmp_path):
    job = method_job(tmp_path, "speed", "spion+window_block", model=MODEL)
    windowed = TrainingStep(prepare_subject(job))
    # A window of 512 tokens sees all of 256.
    assert windowed.attention_flops() == 14 * 32 * 2 * 2 * (2 * 256**2)
    job = method_job(tmp_path, "speed", "sliding_window@matched", model=MODEL)
    matched = TrainingStep(prepare_subject(job))
    # 15 of 64 blocks of 32: 60 tokens in a row, so a window of 60 tokens and 61 scores, less the
    # 30 * 31 that would lie beyond the ends.
    assert matched.attention_flops() == 14 * 32 * 2 * 2 * (2 * (256 * 61 - 30 * 31))


def test_flops_follow_the_kept_blocks(tmp_path, step):
    # 14 D B H per score; two layers of 15 blocks of 32 x 32, against two layers of 256 x 256
    assert step.attention_flops() == 14 * 32 * 2 * 2 * (2 * 15 * 32**2)
    dense = prepare_subject(tiny_job(tmp_path, "speed", "dense_sdpa", model=MODEL))
    assert TrainingStep(dense).attention_flops() == 14 * 32 * 2 * 2 * (2 * 256**2)


def test_non_finite_loss_is_an_error(step):
    with torch.no_grad():
        step.model.head_out.bias.fill_(float("nan"))
    with pytest.raises(NonFiniteStepError, match="not finite"):
        step.run()


def test_listops_passes_its_padding_mask_to_attention(tmp_path):
    options = {"source": "generated", "length": 64, "min_length": 5, "n_train": 8, "n_dev": 8}
    job = tiny_job(tmp_path, "speed", task="listops", options={**options, "n_test": 8})
    listops = TrainingStep(prepare_subject(job))
    masks = []
    attention = listops.model.attention_layers()[0]
    attention.register_forward_pre_hook(lambda module, arguments: masks.append(arguments[3]))
    listops.run_attention()
    assert masks[0].shape == (2, 64)
    assert not masks[0].all()


def test_speed_session_keeps_every_sample(tmp_path):
    session = SpeedSession(tiny_job(tmp_path, "speed", "spion_cf"))
    assert session.check().reason is None
    for _ in range(3):
        session.measure()
    outcome = session.outcome()
    for name in ("train_step_ms", "forward_ms", "attention_ms"):
        assert len(outcome.metrics[name].samples) == 6
        assert outcome.metrics[name].low <= outcome.metrics[name].value
    assert outcome.metrics["attention_flops_per_step"].modelled
    assert outcome.settings["batch_size"] == 2
    assert outcome.pattern.nnzb == [15]
    json.loads(outcome.model_dump_json())


@pytest.mark.skipif(clear_refs_problem() is not None, reason="clear_refs is not writable here")
def test_memory_is_measured_three_times(tmp_path):
    outcome = measure_memory(tiny_job(tmp_path, "memory").model_copy(update={"check_first": True}))
    assert outcome.status == "ok"
    assert len(outcome.metrics["train_step_peak_bytes"].samples) == 3
    assert outcome.metrics["train_step_peak_bytes"].unit == "bytes"
    assert outcome.gate_errors["out"] < 1e-5
    assert "VmHWM" in outcome.settings["memory_method"]


def test_memory_of_a_wrong_method_is_not_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(Subject, "check", lambda subject: GateResult({"out": 9.0}, "out is off"))
    job = tiny_job(tmp_path, "memory").model_copy(update={"check_first": True})
    outcome = measure_memory(job)
    assert (outcome.status, outcome.reason) == ("gate_failed", "out is off")
    assert outcome.metrics == {}


def test_memory_without_clear_refs_is_unsupported(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "spion_bench.passes.memory.clear_refs_problem", lambda: "clear_refs is read-only"
    )
    with pytest.raises(UnsupportedError, match="read-only"):
        measure_memory(tiny_job(tmp_path, "memory"))
