import os

import pytest

from spion_bench.train import CheckpointError
from tests.train.tiny import (
    interrupt_at,
    outcome,
    run,
    tiny_settings,
    tiny_task,
)


def cut(method, tmp_path, step, settings=None, checkpoint_every_s=0.0):
    """Begin or go on with a run, and interrupt it after some steps."""
    with pytest.raises(KeyboardInterrupt):
        run(
            method,
            tmp_path / "cut",
            settings,
            progress=interrupt_at(step),
            checkpoint_every_s=checkpoint_every_s,
        )


@pytest.mark.parametrize("method", ["dense_sdpa", "spion_cf"])
@pytest.mark.parametrize("every_s", [0.0, 1e9], ids=["after every step", "after phases only"])
@pytest.mark.parametrize("step", [1, 4, 5, 6, 9, 12])
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(
    tmp_path, every_step_told, method, every_s, step
):
    whole = run(method, tmp_path / "whole")
    cut(method, tmp_path, step, checkpoint_every_s=every_s)
    resumed = run(method, tmp_path / "cut")
    assert outcome(resumed) == outcome(whole)
    assert [usage.steps for usage in resumed.phases.values()] == [
        usage.steps for usage in whole.phases.values()
    ]


@pytest.mark.parametrize("recipe", ["published", "corrected"])
def test_a_run_interrupted_at_every_step_is_the_same(tmp_path, every_step_told, recipe):
    settings = tiny_settings(recipe, latest_transition_step=6)
    whole = run("spion_c", tmp_path / "whole", settings)
    for step in range(1, 12):
        cut("spion_c", tmp_path, step, settings)
    assert outcome(run("spion_c", tmp_path / "cut", settings)) == outcome(whole)


def test_interrupted_right_after_the_patterns_were_made(tmp_path):
    whole = run("spion_cf", tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run("spion_cf", tmp_path / "cut", progress=interrupt_at(1, phase="pattern"))
    events = []
    assert outcome(run("spion_cf", tmp_path / "cut", progress=events.append)) == outcome(whole)
    assert all(event.phase == "sparse" for event in events)


def test_interrupted_between_transition_and_patterns(tmp_path, monkeypatch):
    whole = run("spion_cf", tmp_path / "whole")

    def killed(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("spion_bench.train.phases.pattern_stages", killed)
        with pytest.raises(KeyboardInterrupt):
            run("spion_cf", tmp_path / "cut")
    resumed = run("spion_cf", tmp_path / "cut")
    assert outcome(resumed) == outcome(whole)
    assert resumed.phases["dense"].steps == 5


def test_per_layer_runs_resume(tmp_path, every_step_told):
    settings = tiny_settings(
        transition_mode="per_layer", transition_threshold_percent=60, eval_every=1
    )
    whole = run("spion_cf", tmp_path / "whole", settings)
    for step in range(2, 12, 2):
        cut("spion_cf", tmp_path, step, settings)
    assert outcome(run("spion_cf", tmp_path / "cut", settings)) == outcome(whole)


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = run("spion_cf", tmp_path)
    events = []
    again = run("spion_cf", tmp_path, progress=events.append)
    assert outcome(again) == outcome(first)
    assert events == []
    run("spion_cf", tmp_path, progress=events.append, resume=False)
    assert events != []


def test_a_damaged_checkpoint_is_named_and_fresh_gets_past_it(tmp_path):
    first = run("spion_cf", tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=f"{file.name}.*delete it or run with --fresh"):
        run("spion_cf", tmp_path)
    assert outcome(run("spion_cf", tmp_path, resume=False)) == outcome(first)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("seed", {"seed": 2}),
        ("data", {"task": tiny_task(seed=9)}),
        ("train", {"settings": tiny_settings(weight_decay=0.0)}),
        ("spion", {"settings": tiny_settings(quantile=0.5)}),
        ("recipe", {"settings": tiny_settings("published")}),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, what, change):
    run("spion_cf", tmp_path)
    with pytest.raises(CheckpointError, match=rf"another run \(different: {what}\)"):
        run("spion_cf", tmp_path, **change)


def test_a_run_whose_checkpoint_cannot_be_stored_says_so(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        run("dense_sdpa", tmp_path)
