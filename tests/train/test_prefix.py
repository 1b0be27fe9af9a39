import json

import pytest
import torch

from spion_bench.train import CheckpointError
from tests.train.tiny import (
    interrupt_at,
    outcome,
    run,
    tiny_settings,
    tiny_task,
    train_tiny_prefix,
)

SHARING = ["dense_sdpa", "spion_c", "spion_f", "spion_cf"]


@pytest.mark.parametrize("recipe", ["published", "corrected"])
def test_forked_runs_are_bit_equal_to_trained_ones(tmp_path, recipe):
    settings = tiny_settings(recipe)
    train_tiny_prefix(tmp_path / "prefix", settings)
    train_tiny_prefix(tmp_path / "prefix of F", settings, variant="F")
    for method in SHARING:
        # Published CF and C lag one step behind in the schedule, F does not.
        own = recipe == "published" and method == "spion_f"
        prefix = tmp_path / ("prefix of F" if own else "prefix")
        forked = run(method, tmp_path / "f" / method, settings, prefix=prefix)
        alone = run(method, tmp_path / "a" / method, settings)
        assert forked.forked_from_prefix
        assert not alone.forked_from_prefix
        assert outcome(forked) == outcome(alone), method
        assert set(forked.phases) == set(alone.phases)
        for phase in alone.phases:
            assert forked.phases[phase].steps == alone.phases[phase].steps


def test_the_dense_time_of_a_fork_is_the_prefixs(tmp_path):
    prefix = tmp_path / "prefix"
    state = train_tiny_prefix(prefix)
    one = run("spion_c", tmp_path / "1", prefix=prefix).phases
    other = run("spion_cf", tmp_path / "2", prefix=prefix).phases
    dense = run("dense_sdpa", tmp_path / "3", prefix=prefix).phases
    assert one["dense"] == other["dense"] == state.usage["dense"]
    assert one["sparse"] != other["sparse"]
    assert dense["dense"].step_s[:5] == one["dense"].step_s
    assert dense["dense"].steps == 12


def test_a_fork_trains_no_dense_step(tmp_path):
    train_tiny_prefix(tmp_path / "prefix")
    events = []
    run("spion_cf", tmp_path / "2", prefix=tmp_path / "prefix", progress=events.append)
    assert "dense" not in {event.phase for event in events}


@pytest.mark.parametrize(
    "change", [{"quantile": 0.5}, {"block_size": 16}, {"pruned": "minus_inf"}], ids=str
)
def test_the_patterns_settings_do_not_matter_to_the_prefix(tmp_path, change):
    train_tiny_prefix(tmp_path / "prefix")
    forked = run("spion_cf", tmp_path / "run", tiny_settings(**change), prefix=tmp_path / "prefix")
    assert forked.forked_from_prefix


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"task": tiny_task(seed=4)},
        {"settings": tiny_settings(learning_rate=2e-3)},
        {"settings": tiny_settings(transition_threshold_percent=7)},
        {"settings": tiny_settings(dropout=0.2)},
    ],
    ids=["seed", "data", "rate", "threshold", "model"],
)
def test_a_prefix_of_another_run_is_refused(tmp_path, change):
    train_tiny_prefix(tmp_path / "prefix")
    with pytest.raises(CheckpointError, match="belongs to another run"):
        run("spion_cf", tmp_path / "run", prefix=tmp_path / "prefix", **change)


def test_a_prefix_of_another_thread_count_is_refused(tmp_path):
    train_tiny_prefix(tmp_path / "prefix")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.raises(CheckpointError, match="different: threads"):
        run("spion_cf", tmp_path / "run", prefix=tmp_path / "prefix")
    torch.set_num_threads(before)


@pytest.mark.parametrize("method", ["dense_sdpa", "spion_cf"])
def test_a_prefix_without_transition_is_a_whole_dense_run(tmp_path, method):
    settings = tiny_settings(latest_transition_step=99, transition_threshold_percent=1)
    train_tiny_prefix(tmp_path / "prefix", settings)
    forked = run(method, tmp_path / "f", settings, prefix=tmp_path / "prefix")
    assert outcome(forked) == outcome(run(method, tmp_path / "a", settings))
    if method == "spion_cf":
        assert not forked.transition.is_spion


@pytest.mark.parametrize("step", [6, 7, 12])
@pytest.mark.parametrize("method", ["dense_sdpa", "spion_cf"])
def test_an_interrupted_fork_resumes(tmp_path, every_step_told, method, step):
    prefix = tmp_path / "prefix"
    train_tiny_prefix(prefix)
    whole = run(method, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(
            method,
            tmp_path / "cut",
            prefix=prefix,
            progress=interrupt_at(step),
            checkpoint_every_s=0.0,
        )
    resumed = run(method, tmp_path / "cut", prefix=prefix)
    assert outcome(resumed) == outcome(whole)
    assert resumed.forked_from_prefix


def test_an_interrupted_prefix_goes_on_where_it_stopped(tmp_path, every_step_told):
    prefix = tmp_path / "prefix"
    with pytest.raises(KeyboardInterrupt):
        train_tiny_prefix(prefix, progress=interrupt_at(4), checkpoint_every_s=0.0)
    with pytest.raises(CheckpointError, match="no finished dense prefix"):
        run("spion_cf", tmp_path / "early", prefix=prefix)
    events = []
    train_tiny_prefix(prefix, progress=events.append)
    assert min(event.step for event in events) == 5
    forked = run("spion_cf", tmp_path / "cf", prefix=prefix)
    assert outcome(forked) == outcome(run("spion_cf", tmp_path / "alone"))


def test_a_finished_prefix_is_not_trained_again(tmp_path):
    train_tiny_prefix(tmp_path / "prefix")
    events = []
    train_tiny_prefix(tmp_path / "prefix", progress=events.append)
    assert events == []


def test_a_damaged_prefix_is_named(tmp_path):
    prefix = tmp_path / "prefix"
    train_tiny_prefix(prefix)
    manifest = prefix / "manifest.json"
    manifest.write_text(json.dumps({"format_version": 1}))
    with pytest.raises(CheckpointError) as caught:
        run("spion_cf", tmp_path / "2", prefix=prefix)
    assert str(manifest) in str(caught.value)
    manifest.unlink()
    train_tiny_prefix(prefix)
    assert run("spion_cf", tmp_path / "2", prefix=prefix).forked_from_prefix
