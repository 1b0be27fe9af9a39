import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from spion_bench.block_pattern import BlockPattern
from spion_bench.model import attention as attention_module
from spion_bench.model.attention import Attention, SpionAttention, dense_attention
from spion_bench.pattern.generate import pattern_stages
from spion_bench.train import NonFiniteLossError, train
from spion_bench.train import phases as phases_module
from spion_bench.train import precision as precision_module
from spion_bench.train.evaluate import evaluate
from spion_bench.train.phases import update_weights
from spion_bench.train.precision import Arithmetic
from tests.train.tiny import GOLDEN, METHODS, losses, run, split, tiny_job, tiny_settings

FLOAT32 = Arithmetic("float32", torch.device("cpu"))


def test_gradients_are_cleared_and_clipped():
    case = GOLDEN["amp_stale_gradient"]
    weight = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    model = nn.ParameterList([weight])
    optimizer = torch.optim.SGD([weight], lr=1.0)
    used = []
    for gradient in case["inputs"]["gradients"]:
        before = weight.detach().clone()
        target = torch.tensor(gradient, dtype=torch.float64)
        loss = (weight * target).sum()
        update_weights(loss, model, optimizer, FLOAT32.scaler(), case["inputs"]["clip"])
        used.append((before - weight.detach()).tolist())
    # The published loss scale hides the missing zero_grad down to 1.6e-5; a small scale does not.
    published = torch.tensor(case["expected"]["scale_65536"])
    accumulated = torch.tensor(case["expected"]["scale_2"])
    torch.testing.assert_close(torch.tensor(used), published, rtol=0, atol=1.6e-5)
    assert not torch.allclose(torch.tensor(used), accumulated, rtol=0, atol=0.1)


@pytest.mark.parametrize("batch_size", [1, 4, 11, 100])
def test_evaluation_uses_every_example_in_eval_mode(batch_size):
    torch.manual_seed(0)
    data = split(11, seed=3)
    model = nn.Sequential(nn.Embedding(12, 3), nn.Dropout(0.9), Mean()).train()
    loss, correct = evaluate(model, data, batch_size, FLOAT32)
    logits = model.eval()(torch.from_numpy(data.inputs).long())
    labels = torch.from_numpy(data.labels)
    assert loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)
    assert correct.tolist() == (logits.argmax(1) == labels).tolist()


class Mean(nn.Module):
    def forward(self, x):
        return x.mean(1)


def test_patterns_come_from_the_maps_of_the_last_dense_training_step(tmp_path, monkeypatch):
    seen = []

    def spy(attention_map, **options):
        seen.append((attention_map.clone(), options))
        return pattern_stages(attention_map, **options)

    monkeypatch.setattr(phases_module, "pattern_stages", spy)
    result = run("spion_cf", tmp_path / "a")
    assert len(seen) == 2
    assert seen[0][1] == {
        "variant": "CF",
        "block_size": 8,
        "quantile": 0.6,
        "density": 0.5,
        "filter_size": 3,
        "selection": "walk",
    }

    maps = maps_of_step(tmp_path, result.transition.step)
    for (taken, _), by_hand in zip(seen, maps, strict=True):
        torch.testing.assert_close(taken, by_hand, rtol=1e-5, atol=1e-7)
    assert [pattern.nnzb for pattern in result.patterns] == [
        pattern_stages(taken, **options).pattern.nnzb for taken, options in seen
    ]


def maps_of_step(tmp_path, step):
    """Average each layer's dense probabilities in the training forward of ``step``, by hand."""
    maps = []

    class Spying(Attention):
        def forward(self, q, k, v, key_padding_mask=None):
            if self.training:
                scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
                scores = scores.masked_fill(~key_padding_mask[:, None, None], -torch.inf)
                maps.append(scores.softmax(-1).mean((0, 1)).detach())
            return dense_attention(q, k, v, key_padding_mask)

    train(
        tiny_job(),
        make_attention=lambda layer: Spying(),
        method="spying",
        out_dir=tmp_path / "spy",
    )
    return maps[2 * (step - 1) : 2 * step]


@pytest.mark.parametrize(
    ("side", "expected"), [(32, 32), (256, 256), (257, 129), (1024, 256), (4096, 256)]
)
def test_stored_maps_are_at_most_256_wide(side, expected):
    shrunk = phases_module._shrink(torch.ones(side, side, dtype=torch.float64))
    assert shrunk.shape == (expected, expected)
    assert shrunk.dtype == torch.float32
    assert torch.equal(shrunk, torch.ones_like(shrunk))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("method", ["dense_sdpa", "spion_c"])
def test_a_loss_that_is_not_finite_ends_the_run(tmp_path, monkeypatch, method, bad):
    calls = []

    def poisoned(logits, labels, **options):
        loss = F.cross_entropy(logits, labels, **options)
        if "reduction" not in options:
            calls.append(loss)
        return loss * bad if len(calls) == 7 and "reduction" not in options else loss

    functional = type("functional", (), {**vars(F), "cross_entropy": staticmethod(poisoned)})
    monkeypatch.setattr(precision_module, "F", functional)
    with pytest.raises(NonFiniteLossError, match=f"loss of step 7 is {bad}") as caught:
        run(method, tmp_path)
    assert caught.value.step == 7
    assert len(calls) == 7


def test_weights_that_explode_end_the_run(tmp_path):
    with pytest.raises(NonFiniteLossError, match="training loss of step"):
        run("dense_sdpa", tmp_path, tiny_settings(learning_rate=1e30, warmup_steps=0))


def test_the_published_recipe_changes_the_steps_that_it_should(tmp_path):
    corrected = run("spion_cf", tmp_path / "c")
    published = run("spion_cf", tmp_path / "p", tiny_settings("published"))
    assert losses(published)[0] == losses(corrected)[0]  # the same start
    assert losses(published)[1:] != losses(corrected)[1:]
    top = 1e-2
    rates = [point.lr for point in published.curve]
    assert published.transition.step == 5
    assert rates[0] == rates[1] == pytest.approx(top / 25)
    assert max(rates[:5]) == pytest.approx(top)
    assert rates[6] == pytest.approx((top + top / 25) / 2)  # the warm-up again, from counter 1
    assert rates[7] == pytest.approx(top)
    follow = [
        point.lr for point in run("spion_f", tmp_path / "f", tiny_settings("published")).curve
    ]
    assert follow == [point.lr for point in corrected.curve]


def test_published_recipe_cycles_beta1(tmp_path, monkeypatch, every_step_told):
    seen = {}
    real = phases_module.update_weights

    def spy(loss, model, optimizer, scaler, clip_value):
        seen.setdefault(current, []).append(optimizer.param_groups[0]["betas"])
        real(loss, model, optimizer, scaler, clip_value)

    monkeypatch.setattr(phases_module, "update_weights", spy)
    for current in ("published", "corrected"):
        run("spion_f", tmp_path / current, tiny_settings(current))
    assert seen["corrected"] == [(0.9, 0.999)] * 12
    assert [beta1 for beta1, _ in seen["published"][:4]] == pytest.approx(
        [0.95, 0.9, 0.85, 0.85 + 0.1 / 9]
    )


def full_stages(attention_map, **options):
    stages = pattern_stages(attention_map, **options)
    return replace(stages, pattern=BlockPattern.full(attention_map.shape[0], 8))


def test_with_every_block_kept_sparse_training_is_dense_training(tmp_path, monkeypatch):
    monkeypatch.setattr(phases_module, "pattern_stages", full_stages)
    sparse = run("spion_cf", tmp_path / "sparse")
    assert [pattern.density for pattern in sparse.patterns] == [1, 1]
    dense = run("dense_sdpa", tmp_path / "dense")
    assert losses(sparse) == pytest.approx(losses(dense), rel=1e-4)


@pytest.mark.parametrize("pruned", ["zero_logit", "minus_inf"])
def test_sparse_training_follows_the_definition(tmp_path, monkeypatch, pruned):
    """The same run with the kernels replaced by the formula, differentiated by autograd."""

    def by_formula(q, k, v, pattern, *, pruned, causal, key_padding_mask, implementation):
        assert not causal
        kept = pattern.to_token_mask()
        scores = q.double() @ k.double().transpose(-1, -2) / math.sqrt(q.shape[-1])
        scores = scores.masked_fill(~key_padding_mask[:, None, None] & kept, -torch.inf)
        scores = scores.masked_fill(~kept, 0 if pruned == "zero_logit" else -torch.inf)
        probs = scores.softmax(-1).nan_to_num(0).masked_fill(~kept, 0)
        return (probs @ v.double()).float()

    settings = tiny_settings(pruned=pruned, quantile=0.9)
    monkeypatch.setitem(METHODS, "spion_cf", (lambda: SpionAttention(pruned), "CF"))
    by_kernel = run("spion_cf", tmp_path / "kernel", settings)
    monkeypatch.setattr(attention_module, "block_attention", by_formula)
    expected = run("spion_cf", tmp_path / "formula", settings)
    assert expected.patterns == by_kernel.patterns
    assert min(pattern.density for pattern in expected.patterns) < 0.5
    assert losses(by_kernel) == pytest.approx(losses(expected), rel=1e-4)


def test_sparse_layers_keep_their_pattern(tmp_path):
    result = run("spion_c", tmp_path)
    assert all(isinstance(pattern, BlockPattern) for pattern in result.patterns)
    for pattern, stage in zip(result.patterns, result.stages, strict=True):
        assert pattern.length == 32
        assert stage.map.shape == (32, 32)
        assert stage.pooled.shape == stage.mask.shape == (4, 4)
        with_diagonal = stage.mask | torch.eye(4, dtype=torch.bool)
        assert torch.equal(pattern.to_mask(), with_diagonal)
