import json
import subprocess
import sys

import pytest
import torch

from spion_bench.train import CheckpointError
from tests.train.tiny import interrupt_at, outcome, run, tiny_settings, tiny_task

SHARING = ["dense_sdpa", "spion_c", "spion_f", "spion_cf"]


def prefixes(directory):
    return sorted(path.name for path in directory.iterdir() if path.is_dir())


@pytest.mark.parametrize("recipe", ["published", "corrected"])
@pytest.mark.parametrize("first", SHARING)
def test_forked_runs_are_bit_equal_to_trained_ones(tmp_path, recipe, first):
    settings = tiny_settings(recipe)
    shared = tmp_path / "prefixes"
    for method in [first, *(method for method in SHARING if method != first)]:
        forked = run(method, tmp_path / "f" / method, settings, prefix_dir=shared)
        alone = run(method, tmp_path / "a" / method, settings)
        assert forked.forked_from_prefix
        assert not alone.forked_from_prefix
        assert outcome(forked) == outcome(alone), method
        assert set(forked.phases) == set(alone.phases)
        for phase in alone.phases:
            assert forked.phases[phase].steps == alone.phases[phase].steps
    # Published CF and C lag one step behind in the schedule, F does not.
    assert len(prefixes(shared)) == (2 if recipe == "published" else 1)


def test_the_dense_time_of_a_fork_is_the_prefixs(tmp_path):
    shared = tmp_path / "prefixes"
    one = run("spion_c", tmp_path / "1", prefix_dir=shared).phases
    other = run("spion_cf", tmp_path / "2", prefix_dir=shared).phases
    dense = run("dense_sdpa", tmp_path / "3", prefix_dir=shared).phases
    assert one["dense"] == other["dense"]
    assert one["sparse"] != other["sparse"]
    assert dense["dense"].step_s[:5] == one["dense"].step_s
    assert dense["dense"].steps == 12


def test_the_prefix_is_trained_once(tmp_path):
    shared = tmp_path / "prefixes"
    run("spion_c", tmp_path / "1", prefix_dir=shared)
    events = []
    run("spion_cf", tmp_path / "2", prefix_dir=shared, progress=events.append)
    assert "dense" not in {event.phase for event in events}


def test_what_matters_to_the_prefix_makes_another_one(tmp_path):
    shared = tmp_path / "prefixes"
    run("spion_cf", tmp_path / "base", prefix_dir=shared)
    changes = {
        "quantile": {"settings": tiny_settings(quantile=0.5)},
        "block": {"settings": tiny_settings(block_size=16)},
        "pruned": {"settings": tiny_settings(pruned="minus_inf")},
    }
    for name, change in changes.items():
        run("spion_cf", tmp_path / name, prefix_dir=shared, **change)
        assert len(prefixes(shared)) == 1, name
    changes = {
        "seed": {"seed": 2},
        "data": {"task": tiny_task(seed=4)},
        "rate": {"settings": tiny_settings(learning_rate=2e-3)},
        "threshold": {"settings": tiny_settings(transition_threshold_percent=7)},
        "model": {"settings": tiny_settings(dropout=0.2)},
    }
    for count, (name, change) in enumerate(changes.items(), start=2):
        run("spion_cf", tmp_path / name, prefix_dir=shared, **change)
        assert len(prefixes(shared)) == count, name
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    run("spion_cf", tmp_path / "threads", prefix_dir=shared)
    torch.set_num_threads(before)
    assert len(prefixes(shared)) == 7


@pytest.mark.parametrize(("method", "mode"), [("dense_eager", "joint"), ("spion_cf", "per_layer")])
def test_runs_that_cannot_share_train_through(tmp_path, method, mode):
    settings = tiny_settings(transition_mode=mode)
    result = run(method, tmp_path / "run", settings, prefix_dir=tmp_path / "prefixes")
    assert not result.forked_from_prefix
    assert not (tmp_path / "prefixes").exists()
    assert outcome(result) == outcome(run(method, tmp_path / "alone", settings))


@pytest.mark.parametrize("method", ["dense_sdpa", "spion_cf"])
def test_a_prefix_without_transition_is_a_whole_dense_run(tmp_path, method):
    settings = tiny_settings(latest_transition_step=99, transition_threshold_percent=1)
    forked = run(method, tmp_path / "f", settings, prefix_dir=tmp_path / "prefixes")
    assert outcome(forked) == outcome(run(method, tmp_path / "a", settings))
    if method == "spion_cf":
        assert not forked.transition.is_spion


@pytest.mark.parametrize("step", [1, 4, 7, 12])
@pytest.mark.parametrize("method", ["dense_sdpa", "spion_cf"])
def test_an_interrupted_fork_resumes(tmp_path, every_step_told, method, step):
    shared = tmp_path / "prefixes"
    whole = run(method, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(
            method,
            tmp_path / "cut",
            prefix_dir=shared,
            progress=interrupt_at(step),
            checkpoint_every_s=0.0,
        )
    resumed = run(method, tmp_path / "cut", prefix_dir=shared)
    assert outcome(resumed) == outcome(whole)
    assert resumed.forked_from_prefix


def test_an_interrupted_prefix_goes_on_where_it_stopped(tmp_path, every_step_told):
    shared = tmp_path / "prefixes"
    with pytest.raises(KeyboardInterrupt):
        run(
            "spion_c",
            tmp_path / "cut",
            prefix_dir=shared,
            progress=interrupt_at(4),
            checkpoint_every_s=0.0,
        )
    events = []
    other = run("spion_cf", tmp_path / "cf", prefix_dir=shared, progress=events.append)
    assert min(event.step for event in events) == 5
    assert outcome(other) == outcome(run("spion_cf", tmp_path / "alone"))


def test_a_damaged_prefix_is_named(tmp_path):
    shared = tmp_path / "prefixes"
    run("spion_c", tmp_path / "1", prefix_dir=shared)
    (manifest,) = shared.glob("*/manifest.json")
    manifest.write_text(json.dumps({"format_version": 1}))
    with pytest.raises(CheckpointError) as caught:
        run("spion_cf", tmp_path / "2", prefix_dir=shared)
    assert str(manifest) in str(caught.value)
    manifest.unlink()
    assert run("spion_cf", tmp_path / "2", prefix_dir=shared).forked_from_prefix


HOLDER = """
import sys
from filelock import FileLock

with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_the_second_of_two_processes_waits_and_reuses(tmp_path):
    shared = tmp_path / "prefixes"
    first = run("spion_c", tmp_path / "1", prefix_dir=shared)
    (name,) = prefixes(shared)
    events = []
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, f"{shared / name}.lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "held\n"

        def progress(event):
            events.append(event)
            if event.message is not None and "waiting" in event.message:
                other.communicate("go on\n")

        second = run("spion_cf", tmp_path / "2", prefix_dir=shared, progress=progress)
    assert events[0].phase == "dense"
    assert f"waiting for another process that trains the dense prefix {name}" == events[0].message
    assert second.phases["dense"] == first.phases["dense"]
