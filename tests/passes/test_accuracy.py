import numpy as np
import pytest

from spion_bench.passes.accuracy import (
    AccuracySession,
    deviations,
    make_artifact,
    result_metrics,
)
from spion_bench.passes.prefix import PrefixSession
from spion_bench.passes.session import Job
from spion_bench.passes.subject import prepare_subject
from spion_bench.records import TransitionInfo
from spion_bench.records.artifacts import read_artifact, read_patterns, write_artifact
from spion_bench.records.files import file_digest
from spion_bench.train import CheckpointError, TrainResult
from spion_bench.train.usage import PhaseUsage
from tests.cells import ignore, measure, tiny_cell, tiny_job


def train(out, method, **changes):
    events = []
    return measure(
        AccuracySession(tiny_job(out, "accuracy", method, **changes), events.append)
    ), events


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The tiny profile's dense prefix, and its dense and SPION cell, run in one folder."""
    out = tmp_path_factory.mktemp("accuracy")
    prefix = measure(PrefixSession(tiny_job(out, "prefix", "dense_sdpa"), ignore))
    dense, _ = train(out, "dense_sdpa")
    spion, events = train(out, "spion_cf")
    return out, prefix, dense, spion, events


def test_spion_run_says_what_it_did(found):
    *_, spion, events = found
    assert spion.status == "ok"
    assert spion.transition.is_spion
    assert (spion.transition.reason, spion.transition.step) == ("forced", 4)
    assert spion.pattern.source == "trained in this cell"
    assert len(spion.pattern.nnzb) == 1
    assert spion.tested.phase == "sparse"
    assert {event.phase for event in events} == {"pattern", "sparse"}


def test_methods_continue_the_dense_prefix(found):
    out, prefix, dense, spion, _ = found
    cell = tiny_cell("prefix", "dense_sdpa")
    assert tiny_cell("accuracy").parent == tiny_cell("accuracy", "dense_sdpa").parent == cell.key
    manifest, tensors = prefix.artifacts
    assert manifest == f"{cell.key}/manifest.json"
    assert tensors.startswith(f"{cell.key}/")
    for name, digest in prefix.artifacts.items():
        assert file_digest(out / "artifacts" / name) == digest
    seconds = prefix.metrics["dense_wall_s"].value
    assert spion.metrics["dense_wall_s"].value == seconds
    assert dense.metrics["dense_wall_s"].value > seconds  # it goes on densely


def test_without_its_parent_a_fork_is_not_trained(tmp_path):
    with pytest.raises(CheckpointError, match="no finished dense prefix"):
        train(tmp_path, "spion_cf")


def test_metrics_of_phases_that_happened_only(found):
    _, _, dense, spion, _ = found
    assert {"dense_wall_s", "pattern_wall_s", "sparse_wall_s"} <= spion.metrics.keys()
    assert "sparse_step_ms" in spion.metrics
    assert not any(name.startswith(("pattern", "sparse")) for name in dense.metrics)
    accuracy = spion.metrics["test_accuracy"]
    assert accuracy.low <= accuracy.value <= accuracy.high
    assert accuracy.unit == "ratio"


def test_artifact_holds_curves_and_patterns(found):
    out, _, dense, spion, _ = found
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
    ((block_size, _, col_indices),) = read_patterns(path, digest)
    assert (len(col_indices), block_size) == (spion.pattern.nnzb[0], 32)
    ((dense_name, dense_digest),) = dense.artifacts.items()
    with pytest.raises(ValueError, match="no patterns"):
        read_patterns(out / "artifacts" / dense_name, dense_digest)


def test_learned_patterns_are_used_where_the_job_says_so(found):
    out, _, _, spion, _ = found
    ((name, digest),) = spion.artifacts.items()
    job = Job(
        cell=tiny_cell("speed"),
        out=str(out),
        pattern_artifact=str(out / "artifacts" / name),
        pattern_sha256=digest,
        pattern_cell="key",
    )
    subject = prepare_subject(job)
    assert subject.pattern_source == "accuracy cell key"
    assert [pattern.nnzb for pattern in subject.patterns] == spion.pattern.nnzb
    assert subject.check().reason is None


def test_deviations_from_the_publication_are_listed(found):
    _, _, _, spion, _ = found
    listed = "\n".join(spion.deviations)
    assert "train.steps is 10 instead of 10000" in listed
    assert "spion.quantile is 0.9 instead of 0.96" in listed
    assert "recipe corrected: lr_restart is False instead of True" in listed
    assert "the data is a stand-in" in listed
    assert "train.adam_eps" not in listed


def test_a_run_with_few_sparse_steps_is_called_not_spion(tmp_path):
    job = tiny_job(tmp_path, "accuracy", recipe="published")
    transition = TransitionInfo(
        step=9, reason="forced", layer_steps=[9], sparse_step_share=0.1, is_spion=False
    )
    found = deviations(prepare_subject(job), transition)
    assert "not SPION: only 10% of the steps were sparse" in found
    assert not any(line.startswith("recipe") for line in found)


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
        test_correct=np.array([True, False, False, False]),
        n_parameters=3,
        model_bytes=12,
        final_loss=1.0,
        forked_from_prefix=False,
    )
    metrics = result_metrics(result, prepare_subject(tiny_job(tmp_path, "accuracy")))
    assert metrics["dense_step_ms"].value == 1000.0
    assert "dense_peak_bytes" not in metrics
    assert "sparse_wall_s" not in metrics
    path = tmp_path / "artifacts" / "x.npz"
    digest = write_artifact(path, make_artifact(result))
    assert digest == file_digest(path)
    artifact = read_artifact(path, digest)
    assert artifact.layers == ()
    assert artifact.test_correct.tolist() == [True, False, False, False]
    assert [left.name for left in path.parent.iterdir()] == ["x.npz"]
