import pytest
import torch

from spion_bench.passes.step.training_step import NonFiniteStepError, TrainingStep
from spion_bench.passes.subject import prepare_subject
from tests.cells import tiny_job

MODEL = {"layers": 2}


@pytest.fixture
def step(tmp_path):
    return TrainingStep(prepare_subject(tiny_job(tmp_path, "speed", model=MODEL)))


def weights(step):
    return {name: weight.detach().clone() for name, weight in step.model.named_parameters()}


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
    assert all(torch.equal(w, before[name]) for name, w in step.model.named_parameters())
    assert all(parameter.grad is None for parameter in step.model.parameters())


def test_forgotten_gradients_are_gone(step):
    step.run()
    step.forget_gradients()
    assert all(parameter.grad is None for parameter in step.model.parameters())


def test_flops_follow_a_methods_own_mask(tmp_path):
    job = tiny_job(tmp_path, "speed", "spion+window_block", model=MODEL)
    windowed = TrainingStep(prepare_subject(job))
    # A window of 512 tokens sees all of 256.
    assert windowed.attention_flops() == 14 * 32 * 2 * 2 * (2 * 256**2)
    job = tiny_job(tmp_path, "speed", "sliding_window@matched", model=MODEL)
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
    options = {**options, "n_test": 8}
    job = tiny_job(tmp_path, "speed", task="listops", options=options, model={"layers": 1})
    listops = TrainingStep(prepare_subject(job))
    masks = []
    attention = listops.model.attention_layers()[0]
    attention.register_forward_pre_hook(lambda module, arguments: masks.append(arguments[3]))
    listops.run_attention()
    assert masks[0].shape == (2, 64)
    assert not masks[0].all()
