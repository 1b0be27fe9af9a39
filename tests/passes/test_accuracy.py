from pathlib import Path

import numpy as np
import pytest

from spion_bench.passes.accuracy import deviations, measure_accuracy, result_metrics
from spion_bench.passes.gate.oracle import GateResult
from spion_bench.passes.subject import Subject, prepare_subject
from spion_bench.records import TransitionInfo
from spion_bench.records.artifacts import read_patterns, write_artifact
from spion_bench.records.files import file_digest
from spion_bench.train import PhaseUsage, TrainResult
from tests.cells import tiny_cell, tiny_job


def measure(out, method, **changes):
    events = []
    job = tiny_job(out, "accuracy", method, **changes)
    return measure_accuracy(job.model_copy(update={"check_first": True}), events.append), events


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """The tiny profile's dense and SPION cell, run in one folder."""
    out = tmp_path_factory.mktemp("accuracy")
    dense, _ = measure(out, "dense_sdpa")
    spion, events = measure(out, "spion_cf")
    return out, dense, spion, events


def test_spion_run_tells_what_it_did(outcomes):
    _, _, spion, events = outcomes
    assert spion.status == "ok"
    assert spion.transition.is_spion
    assert (spion.transition.reason, spion.transition.step) == ("forced", 4)
    assert spion.pattern.source == "trained in this cell"
    assert len(spion.pattern.nnzb) == 1
    assert spion.gate_errors["out"] < 1e-5
    assert spion.settings["tested_phase"] == "sparse"
    assert {event.phase for event in events} >= {"pattern", "sparse"}


def test_methods_share_the_dense_prefix(outcomes):
    out, dense, spion, _ = outcomes
    assert dense.settings["forked_from_prefix"] is True
    assert spion.settings["forked_from_prefix"] is True
    folders = [path for path in (out / "prefixes").glob("*/*") if path.is_dir()]
    assert len(folders) == 1
    assert folders[0].parent.name == tiny_cell("accuracy").code


def test_metrics_of_phases_that_happened_only(outcomes):
    _, dense, spion, _ = outcomes
    assert {"dense_wall_s", "pattern_wall_s", "sparse_wall_s"} <= spion.metrics.keys()
    assert "sparse_step_ms" in spion.metrics
    assert not any(name.startswith(("pattern", "sparse")) for name in dense.metrics)
    accuracy = spion.metrics["test_accuracy"]
    assert accuracy.low <= accuracy.value <= accuracy.high
    assert accuracy.unit == "ratio"


def test_artifact_holds_curves_and_patterns(outcomes):
    out, dense, spion, _ = outcomes
    ((name, digest),) = spion.artifacts.items()
    path = out / "artifacts" / name
    assert name == f"{tiny_cell('accuracy').key}.npz"
    assert file_digest(path) == digest
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["curve_step"].tolist() == list(range(1, 11))
        assert arrays["curve_phase"].tolist() == [0] * 4 + [1] * 6
        assert arrays["curve_dev_step"].tolist() == [2, 4, 6, 8, 10]
        assert arrays["layer0_map"].shape == (256, 256)
        assert arrays["layer0_pooled"].shape == arrays["layer0_mask"].shape == (8, 8)
    (pattern,) = read_patterns(path)
    assert (pattern.nnzb, pattern.block_size) == (spion.pattern.nnzb[0], 32)
    (dense_name,) = dense.artifacts
    with pytest.raises(ValueError, match="holds no patterns"):
        read_patterns(out / "artifacts" / dense_name)


def test_learned_patterns_are_used_where_the_job_says_so(outcomes):
    out, _, spion, _ = outcomes
    (name,) = spion.artifacts
    job = tiny_job(out, "speed").model_copy(
        update={"pattern_artifact": str(out / "artifacts" / name), "pattern_cell": "key"}
    )
    subject = prepare_subject(job)
    assert subject.pattern_source == "accuracy cell key"
    assert [pattern.nnzb for pattern in subject.patterns] == spion.pattern.nnzb
    assert subject.check().reason is None


def test_deviations_from_the_publication_are_listed(outcomes):
    _, _, spion, _ = outcomes
    found = "\n".join(spion.deviations)
    assert "train.steps is 10 instead of 10000" in found
    assert "spion.quantile is 0.9 instead of 0.96" in found
    assert "recipe corrected: lr_restart is False instead of True" in found
    assert "the data is a stand-in" in found
    assert "train.adam_eps" not in found


def test_a_run_with_few_sparse_steps_is_called_not_spion(tmp_path):
    job = tiny_job(tmp_path, "accuracy", recipe="published")
    transition = TransitionInfo(
        step=9, reason="forced", layer_steps=[9], sparse_step_share=0.1, is_spion=False
    )
    found = deviations(job.cell, prepare_subject(job), transition)
    assert "not SPION: only 10% of the steps were sparse" in found
    assert not any(line.startswith("recipe") for line in found)


def test_a_wrong_method_is_not_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(Subject, "check", lambda subject: GateResult({"out": 9.0}, "out is off"))
    outcome, events = measure(tmp_path, "spion_cf")
    assert (outcome.status, outcome.reason, events) == ("gate_failed", "out is off", [])
    assert not (tmp_path / "artifacts").exists()


def test_unmeasured_memory_has_no_metric(tmp_path):
    result = TrainResult(
        phases={"dense": PhaseUsage(wall_s=2.0, step_s=[0.5, 1.5]), "sparse": PhaseUsage()},
        transition=None,
        patterns=None,
        stages=None,
        curve=[],
        tested_phase="dense",
        tested_step=2,
        dev_accuracy=0.5,
        test_accuracy=0.25,
        test_correct=1,
        test_count=4,
        n_parameters=3,
        model_bytes=12,
        final_loss=1.0,
        forked_from_prefix=False,
    )
    metrics = result_metrics(result, prepare_subject(tiny_job(tmp_path, "accuracy")))
    assert metrics["dense_step_ms"].value == 1000.0
    assert "dense_peak_bytes" not in metrics
    assert "sparse_wall_s" not in metrics
    digest = write_artifact(tmp_path / "artifacts" / "x.npz", result)
    assert digest == file_digest(tmp_path / "artifacts" / "x.npz")
    assert [path.name for path in Path(tmp_path / "artifacts").iterdir()] == ["x.npz"]
