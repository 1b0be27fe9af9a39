"""NaN and infinity are numbers that were measured: a report shows them and never breaks."""

import csv
import math

import numpy as np
import pytest

from spion_bench.report import render_report
from tests.report.kernels.sweep_run import add_sweep_cell, case_named
from tests.report.reading import plain
from tests.report.run_writer import IMAGE, RunWriter, gate_errors, metric
from tests.report.sample_run import curve_arrays

ODD = {"nan": math.nan, "inf": math.inf, "zero": 0.0}


def odd(value, unit):
    return metric(value, unit, samples=[value, value, 1.0])


def write_odd_run(folder, value):
    writer = RunWriter(folder)
    for length in (1024, 2048, 4096):
        task = IMAGE.model_copy(update={"length": length})
        for method in ("dense_sdpa", "spion_cf", "longformer"):
            times = {
                "train_step_ms": odd(value, "ms"),
                "attention_ms": odd(value, "ms"),
                "attention_flops_per_step": metric(1.0 + length, "FLOP", modelled=True),
            }
            writer.add("speed", method, task=task, metrics=times)
            peak = {"train_step_peak_bytes": odd(value, "bytes")}
            writer.add("memory", method, task=task, metrics=peak)
            writer.add("steps", method, task=task, gate=gate_errors(out=(value, 1e-5)))
    arrays = curve_arrays(np.random.default_rng(0), 0.5, None)
    arrays["curve_train_loss"][200:] = value
    arrays["curve_dev_accuracy"][5:] = value
    for seed in range(2):
        metrics = {
            "test_accuracy": metric(value, "ratio", low=value, high=value),
            "final_train_loss": metric(value, "nat"),
            "dense_wall_s": metric(value, "s"),
        }
        artifacts = writer.add_artifact(f"a{seed}.npz", arrays)
        fields = {"seed": seed, "metrics": metrics, "artifacts": artifacts}
        writer.add("accuracy", "dense_sdpa", **fields)
    for name in ("sweep_base", "sweep_L1024", "sweep_density8", "sweep_band_D64_b64"):
        case = case_named(name)
        for method in case.implementations:
            metrics = {
                "forward_ms": odd(value, "ms"),
                "forward_backward_ms": odd(value, "ms"),
                "flops_rate_gflops": odd(value, "GFLOP/s"),
                "workspace_bytes": odd(value, "bytes"),
            }
            add_sweep_cell(writer, case, method, metrics=metrics)
    times = {"forward_ms": odd(value, "ms"), "forward_backward_ms": odd(value, "ms")}
    for method in ("dense_sdpa", "block_attention"):
        writer.add_kernel(method, metrics=times)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.filterwarnings("error")
def test_a_report_shows_them(tmp_path, name):
    write_odd_run(tmp_path / "run", ODD[name])
    out = render_report(tmp_path / "run", tmp_path / "out").html.parent
    with (out / "tables" / "numbers.csv").open(encoding="utf-8") as file:
        next(file)
        values = {row["value"] for row in csv.DictReader(file) if row["metric"] == "train_step_ms"}
    assert values == {{"nan": "NaN", "inf": "inf", "zero": "0.0"}[name]}
    text = plain((out / "report.md").read_text(encoding="utf-8"))
    assert {"nan": "| NaN", "inf": "| infinite", "zero": "| 0 s"}[name] in text
    for figure in (out / "figures").iterdir():
        assert "<svg" in figure.read_text(encoding="utf-8")
