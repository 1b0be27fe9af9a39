import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from baselines.dense.sdpa import DenseSdpa
from spion_bench.train import train
from tests.train.tiny import (
    METHODS,
    interrupt_at,
    losses,
    outcome,
    run,
    tiny_job,
    tiny_settings,
    tiny_task,
)

SPION = ["spion_c", "spion_f", "spion_cf"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("recipe", ["published", "corrected"])
def test_same_seed_same_bits(tmp_path, method, recipe):
    first = run(method, tmp_path / "a", tiny_settings(recipe))
    second = run(method, tmp_path / "b", tiny_settings(recipe))
    assert outcome(first) == outcome(second)
    assert len(first.curve) == 12
    other = run(method, tmp_path / "c", tiny_settings(recipe), seed=2)
    assert losses(other) != losses(first)


def test_methods_are_equal_until_the_transition(tmp_path):
    results = {method: run(method, tmp_path / method) for method in METHODS}
    dense = losses(results["dense_sdpa"])
    for method in SPION:
        found = losses(results[method])
        assert found[:5] == dense[:5]
        assert found[5:] != dense[5:]
    assert losses(results["dense_eager"]) == pytest.approx(dense, rel=1e-3)
    assert len({tuple(losses(results[method])) for method in SPION}) > 1


def test_training_learns(tmp_path):
    settings = tiny_settings(
        steps=150, latest_transition_step=40, dropout=0.0, learning_rate=3e-3, eval_every=25
    )
    result = run("spion_cf", tmp_path, settings, tiny_task(n_train=8))
    assert np.mean(losses(result)[:5]) > 0.9
    assert result.final_loss < 0.2


@pytest.mark.parametrize("method", METHODS)
def test_result_is_complete(tmp_path, method):
    result = run(method, tmp_path)
    assert [point.step for point in result.curve] == list(range(1, 13))
    evaluated = [point.step for point in result.curve if point.dev_accuracy is not None]
    assert evaluated == [3, 6, 9, 12]
    assert result.final_loss == result.curve[-1].train_loss
    assert result.test_correct.shape == (13,)
    assert result.test_accuracy == result.test_correct.mean()
    is_spion = method in SPION
    pattern_bytes = sum(
        8 + pattern.crow_indices.nbytes + pattern.col_indices.nbytes
        for pattern in result.patterns or ()
    )
    assert result.model_bytes == 4 * result.n_parameters + pattern_bytes
    boundary = 5 if is_spion else 12
    assert [point.phase for point in result.curve].count("dense") == boundary
    assert result.phases["dense"].steps == boundary
    assert result.phases["dense"].validation_s > 0
    for phase, usage in result.phases.items():
        assert usage.wall_s > 0, phase
        assert usage.peak_bytes is None
    if is_spion:
        assert set(result.phases) == {"dense", "pattern", "sparse"}
        assert result.phases["sparse"].steps == 7
        assert result.phases["pattern"].steps == 0
    else:
        assert set(result.phases) == {"dense"}
        assert result.transition is None
        assert result.patterns is None
        assert result.stages is None
        best = max(p.dev_accuracy for p in result.curve if p.dev_accuracy is not None)
        assert result.dev_accuracy == best


def test_the_last_step_is_always_evaluated(tmp_path):
    result = run("spion_c", tmp_path, tiny_settings(eval_every=10, steps=12))
    evaluated = [point.step for point in result.curve if point.dev_accuracy is not None]
    assert evaluated == [10, 12]


@pytest.mark.parametrize("method", SPION)
def test_forced_transition(tmp_path, method):
    transition = run(method, tmp_path).transition
    assert (transition.step, transition.reason, transition.layer_steps) == (5, "forced", [5, 5])
    assert transition.sparse_step_share == 7 / 12
    assert transition.is_spion
    assert transition.change_percent == [[None, None]]  # one evaluation so far, at step 3


def test_transition_by_criterion(tmp_path):
    settings = tiny_settings(
        transition_threshold_percent=10**6, latest_transition_step=11, steps=18, eval_every=2
    )
    transition = run("spion_cf", tmp_path, settings).transition
    assert (transition.step, transition.reason, transition.layer_steps) == (6, "criterion", [6, 6])
    assert transition.sparse_step_share == 12 / 18
    assert len(transition.change_percent) == 3
    assert all(isinstance(change, float) for change in transition.change_percent[2])


def test_forced_at_an_evaluation_step_that_does_not_pass(tmp_path):
    transition = run("spion_cf", tmp_path, tiny_settings(latest_transition_step=6)).transition
    assert (transition.step, transition.reason) == (6, "forced")
    assert len(transition.change_percent) == 2


@pytest.mark.parametrize("latest", [12, 13, 1000])
def test_a_run_that_stays_dense_never_passes_as_spion(tmp_path, latest):
    settings = tiny_settings(latest_transition_step=latest, transition_threshold_percent=1)
    result = run("spion_cf", tmp_path, settings)
    assert result.transition.reason == "never"
    assert result.transition.step is None
    assert result.transition.layer_steps == [None, None]
    assert result.transition.sparse_step_share == 0
    assert not result.transition.is_spion
    assert result.patterns is None
    assert result.stages is None
    assert result.tested_phase == "dense"
    assert result.phases["sparse"].steps == 0


@pytest.mark.parametrize(("latest", "is_spion"), [(12, True), (13, False)])
def test_forty_percent_of_sparse_steps_make_a_spion_run(tmp_path, latest, is_spion):
    settings = tiny_settings(steps=20, latest_transition_step=latest, eval_every=20)
    transition = run("spion_c", tmp_path, settings).transition
    assert transition.reason == "forced"
    assert transition.is_spion is is_spion


def test_the_best_of_the_sparse_phase_is_tested_even_if_the_dense_phase_was_better(tmp_path):
    task = tiny_task(n_dev=40)
    for seed in range(20):
        result = run("spion_cf", tmp_path / str(seed), task=task, seed=seed)
        dev = {phase: [] for phase in ("dense", "sparse")}
        for point in result.curve:
            if point.dev_accuracy is not None:
                dev[point.phase].append((point.dev_accuracy, -point.step))
        assert result.tested_phase == "sparse"
        assert (result.dev_accuracy, -result.tested_step) == max(dev["sparse"])
        if max(dev["dense"])[0] > max(dev["sparse"])[0]:
            return
    pytest.fail("no seed had a better dense phase; the test shows nothing")


def test_per_layer_mode_turns_layers_sparse_one_by_one(tmp_path):
    settings = tiny_settings(
        transition_mode="per_layer",
        transition_threshold_percent=60,
        latest_transition_step=11,
        steps=20,
        eval_every=1,
    )
    for seed in range(30):
        result = run("spion_cf", tmp_path / str(seed), settings, seed=seed)
        steps = result.transition.layer_steps
        if steps[0] != steps[1]:
            break
    else:
        pytest.fail("the layers of every seed settled together; the test shows nothing")
    assert result.transition.step == max(steps)
    dense_steps = [point.step for point in result.curve if point.phase == "dense"]
    assert dense_steps == list(range(1, max(steps) + 1))
    assert result.phases["sparse"].steps == 20 - max(steps)
    assert result.transition.sparse_step_share == (20 - max(steps)) / 20
    assert result.transition.reason == ("forced" if max(steps) == 11 else "criterion")
    dense = losses(run("dense_sdpa", tmp_path / "dense", settings, seed=seed))
    first = min(steps)
    assert losses(result)[:first] == dense[:first]
    assert losses(result)[first] != dense[first]
    again = run("spion_cf", tmp_path / "again", settings, seed=seed)
    assert outcome(again) == outcome(result)


def test_two_towers(tmp_path):
    settings = tiny_settings(two_towers=True)
    result = run("spion_cf", tmp_path, settings, tiny_task(towers=True))
    assert result.transition.is_spion
    assert len(result.patterns) == 2


def test_the_callers_random_state_and_modes_are_left_alone(tmp_path):
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
    expected = torch.rand(1), random.random(), np.random.rand()
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
    seen = []
    run("spion_cf", tmp_path, progress=lambda event: seen.append(deterministic_mode()))
    assert (torch.rand(1), random.random(), np.random.rand()) == expected
    assert set(seen) == {(True, False)}
    assert deterministic_mode() == (False, True)


def deterministic_mode():
    fills = torch.utils.deterministic.fill_uninitialized_memory
    return torch.are_deterministic_algorithms_enabled(), fills


def test_modes_are_restored_after_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run("spion_cf", tmp_path, progress=interrupt_at(1))
    assert deterministic_mode() == (False, True)


def test_peak_memory_is_told_by_phase(tmp_path):
    class Meter:
        peak = 0

        def reset(self):
            Meter.peak += 1

        def peak_bytes(self):
            return Meter.peak

    phases = run("spion_cf", tmp_path, peak_meter=Meter()).phases
    peaks = [phases[phase].peak_bytes for phase in ("dense", "pattern", "sparse")]
    assert all(isinstance(peak, int) for peak in peaks)
    assert peaks[0] < peaks[1] < peaks[2]


def test_settings_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="n_classes: expected 3"):
        run("spion_cf", tmp_path, tiny_settings(n_classes=5))
    assert not list(tmp_path.iterdir())


def test_a_variant_needs_spion_attention(tmp_path):
    with pytest.raises(ValueError, match="expected SpionAttention layers for variant 'CF', got"):
        train(
            tiny_job(variant="CF"),
            make_attention=lambda layer: DenseSdpa(),
            method="wrong",
            out_dir=tmp_path,
        )


def test_progress_reports_evaluations_and_patterns(tmp_path):
    events = []
    result = run("spion_cf", tmp_path, progress=events.append)
    evaluations = [(e.phase, e.step, e.dev_accuracy) for e in events if e.dev_accuracy is not None]
    assert evaluations == [
        (point.phase, point.step, point.dev_accuracy)
        for point in result.curve
        if point.dev_accuracy is not None
    ]
    (pattern,) = [event for event in events if event.phase == "pattern"]
    assert pattern.step == 5
    assert pattern.message.startswith("kept blocks by layer: ")
    assert {event.total_steps for event in events} == {12}


def test_task_data_is_not_changed(tmp_path):
    task = tiny_task()
    before = replace(task.train, inputs=task.train.inputs.copy())
    run("spion_cf", tmp_path, task=task)
    assert np.array_equal(task.train.inputs, before.inputs)
