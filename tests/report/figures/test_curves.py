import numpy as np
import pytest

from spion_bench.report.figures.curves import curve_figures
from spion_bench.report.load import load_records
from tests.report.reading import titled
from tests.report.run_writer import IMAGE, RunWriter
from tests.report.sample_run import add_training


@pytest.fixture(scope="module")
def curves(sample):
    return curve_figures(sample)


def test_curves_label_every_transition(curves):
    figure = titled(curves, "image, L = 256")
    for seed, step in enumerate((160, 180, 200)):
        assert f"seed {seed}: sparse from {step}</text>" in figure.svg
    assert "Sparse from step 180: seed 1." in figure.alt
    assert figure.provenance == "From 6 records (accuracy 6) in records.jsonl."


def test_curves_label_not_spion_runs(curves):
    assert "seed 0 (not SPION): sparse from 320</text>" in titled(curves, "listops").svg


def test_transitions_of_many_runs_do_not_crowd_the_panel(tmp_path):
    writer = RunWriter(tmp_path)
    for method in ("spion_c", "spion_f", "spion_cf"):
        for seed in range(3):
            add_training(writer, IMAGE, method, seed, accuracy=0.5, transition=160)
    (figure,) = curve_figures(load_records(tmp_path))
    assert "9 runs: sparse from 160</text>" in figure.svg
    everyone = "spion_c seeds 0, 1, 2; spion_f seeds 0, 1, 2; spion_cf seeds 0, 1, 2"
    assert f"Sparse from step 160: {everyone}." in figure.caption


def test_runs_of_different_length_share_a_figure(tmp_path):
    writer = RunWriter(tmp_path)
    add_training(writer, IMAGE, "dense_sdpa", 0, accuracy=0.5)
    short = {
        "curve_step": np.arange(1, 4),
        "curve_phase": np.zeros(3, dtype=np.int8),
        "curve_train_loss": np.array([2.0, 1.5, 1.0]),
        "curve_dev_step": np.array([], dtype=np.int64),
        "curve_dev_accuracy": np.array([]),
        "curve_dev_loss": np.array([]),
    }
    artifacts = writer.add_artifact("short.npz", short)
    writer.add("accuracy", "dense_sdpa", seed=1, artifacts=artifacts)
    [figure] = curve_figures(load_records(tmp_path))
    assert "dense_sdpa" in figure.alt


def test_no_artifacts_no_curves(tmp_path):
    RunWriter(tmp_path).add("accuracy", "dense_sdpa")
    assert curve_figures(load_records(tmp_path)) == []


def test_many_seeds_are_a_band_with_their_mean(tmp_path):
    writer = RunWriter(tmp_path)
    for seed in range(6):
        add_training(writer, IMAGE, "dense_sdpa", seed, accuracy=0.5 + 0.01 * seed)
    add_training(writer, IMAGE, "spion_cf", 0, accuracy=0.5, transition=160)
    (many,) = curve_figures(load_records(tmp_path))
    assert "Thin lines: one per seed. Bands, of methods with more than 5 seeds:" in many.caption
    few = RunWriter(tmp_path / "few")
    for seed in range(5):
        add_training(few, IMAGE, "dense_sdpa", seed, accuracy=0.5 + 0.01 * seed)
    (few,) = curve_figures(load_records(tmp_path / "few"))
    assert "Bands" not in few.caption
    assert "Thin lines: one per seed." in few.caption
    drawn = [figure.svg.count("PolyCollection") for figure in (many, few)]
    assert drawn == [2, 0]  # of dense attention alone, in both panels
