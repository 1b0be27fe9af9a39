from dataclasses import replace

import pytest
import torch

from spion_bench.train.schedule import RECIPES, counter, one_cycle, rate_and_beta1
from tests.train.tiny import GOLDEN, tiny_settings

TASKS = ["lr_lra-image", "lr_lra-listops", "lr_lra-retrieval", "lr_lra-pathfinder"]
PUBLISHED, CORRECTED = RECIPES["published"], RECIPES["corrected"]


def config_of(case):
    inputs = case["inputs"]
    return tiny_settings(
        steps=inputs["total_steps"],
        warmup_steps=inputs["warmup"],
        learning_rate=inputs["max_lr"],
    ).train


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("variant", ["CF", "C", "F"])
def test_published_schedule(task, variant):
    case = GOLDEN[task]
    config, transition = config_of(case), case["inputs"]["T"]
    lag = variant != "F"
    expected = case["expected"]["lr" if lag else "lr_without_restart_rule_F"]
    for step, beta1, lr in zip(
        case["inputs"]["steps"], case["expected"]["beta1"], expected, strict=True
    ):
        seen = transition if step > transition else None  # step T itself does not know yet
        found = rate_and_beta1(step, config, PUBLISHED, variant, seen)
        assert found[0] == pytest.approx(lr, rel=1e-8)
        if lag:
            assert found[1] == pytest.approx(beta1, rel=1e-8)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("variant", ["CF", "C", "F", None])
def test_corrected_schedule_neither_lags_nor_restarts_nor_cycles(task, variant):
    case = GOLDEN[task]
    config, transition = config_of(case), case["inputs"]["T"]
    expected = case["expected"]["lr_without_restart_rule_F"]
    for step, lr in zip(case["inputs"]["steps"], expected, strict=True):
        found = rate_and_beta1(step, config, CORRECTED, variant, transition)
        assert found == (pytest.approx(lr, rel=1e-8), 0.9)


@pytest.mark.parametrize(("warmup", "total"), [(3, 12), (2, 7), (175, 400), (11, 12)], ids=str)
def test_one_cycle_is_torchs(warmup, total):
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.AdamW([weight], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.3, total_steps=total, pct_start=warmup / total, anneal_strategy="linear"
    )
    for n in range(total):
        lr, beta1 = one_cycle(n, max_lr=0.3, warmup_steps=warmup, total_steps=total)
        group = optimizer.param_groups[0]
        assert lr == pytest.approx(group["lr"], rel=1e-12)
        assert beta1 == pytest.approx(group["betas"][0], rel=1e-12)
        optimizer.step()
        if n + 1 < total:
            scheduler.step()


def test_edges_of_the_schedule():
    assert one_cycle(0, max_lr=1.0, warmup_steps=0, total_steps=1) == (1.0, 0.85)
    assert one_cycle(4, max_lr=1.0, warmup_steps=5, total_steps=5) == (1.0, 0.85)
    assert one_cycle(4, max_lr=1.0, warmup_steps=9, total_steps=5)[0] == pytest.approx(0.52)
    for n in (-1, 5):
        with pytest.raises(ValueError, match=f"n: expected a counter from 0 to 4, got {n}"):
            one_cycle(n, max_lr=1.0, warmup_steps=2, total_steps=5)


def test_a_dense_run_follows_cf_and_never_restarts():
    assert [counter(step, PUBLISHED, None, None) for step in (0, 1, 2, 9)] == [0, 0, 1, 8]
    assert [counter(step, CORRECTED, None, None) for step in (0, 1, 2, 9)] == [0, 1, 2, 9]


def test_switches_act_alone():
    lag_only = replace(CORRECTED, lr_lag=True)
    restart_only = replace(CORRECTED, lr_restart=True)
    steps = range(8)
    assert [counter(s, lag_only, "CF", 3) for s in steps] == [0, 0, 1, 2, 3, 4, 5, 6]
    assert [counter(s, restart_only, "CF", 3) for s in steps] == [0, 1, 2, 3, 4, 1, 2, 3]
    assert [counter(s, PUBLISHED, "CF", 3) for s in steps] == [0, 0, 1, 2, 3, 1, 2, 3]
