import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import spion_bench
from spion_bench.records import AttentionInfo, PatternInfo, TransitionInfo, read_records
from spion_bench.records.frame import COLUMNS, frame_of, records_frame
from tests.report.run_writer import IMAGE, RunWriter, method_info, metric
from tests.report.tables.test_origins import SETTINGS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def writer(tmp_path):
    return RunWriter(tmp_path / "run")


def only(frame):
    assert len(frame) == 1
    return frame.iloc[0]


def test_a_row_per_metric_with_everything_that_its_cell_states(writer):
    pattern = PatternInfo(
        source="x", block_size=32, length=1024, nnzb=[90, 110], density=[0.1, 0.2]
    )
    transition = TransitionInfo(
        step=160,
        reason="criterion",
        layer_steps=[160, 160],
        sparse_step_share=0.6,
        is_spion=True,
    )
    metrics = {
        "test_accuracy": metric(0.5, "ratio", low=0.4, high=0.6, up=True),
        "dense_step_ms": metric(2.0, "ms", samples=[1.0, 2.0, 3.0]),
    }
    writer.add(
        "accuracy",
        method_info("spion_cf", native="block_attention"),
        seed=2,
        cell={"batch_size": 32},
        metrics=metrics,
        pattern=pattern,
        transition=transition,
    )
    frame = records_frame(writer.folder)
    assert tuple(frame.columns) == COLUMNS
    assert frame["metric"].tolist() == ["test_accuracy", "dense_step_ms"]
    row = frame.iloc[0]
    stated = {
        "file": "records.jsonl",
        "key": "accuracy-image1024-spion_cf-s2-0a1b2c3d",
        "pass": "accuracy",
        "task": "image",
        "source": "digits",
        "stand_in": True,
        "length": 1024,
        "batch_size": 32,
        "method": "spion_cf",
        "family": "spion",
        "role": "subject",
        "base": "spion_cf",
        "variant": "CF",
        "native": "block_attention",
        "exact": True,
        "seed": 2,
        "status": "ok",
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "n_samples": 1,
        "unit": "ratio",
        "lower_is_better": False,
        "modelled": False,
        "block_size": 32,
        "density": pytest.approx(0.15),
        "nnzb": 200,
        "transition_step": 160,
        "transition_reason": "criterion",
        "sparse_step_share": 0.6,
        "is_spion": True,
    }
    assert {name: row[name] for name in stated} == stated
    assert frame["n_samples"].tolist() == [1, 3]


@pytest.mark.parametrize("mode", ["none", "default"])
def test_a_cell_says_how_it_is_compiled_and_what_it_varies(writer, mode):
    settings = SETTINGS.model_copy(update={"compile": mode})
    cell = {"settings": settings, "factor": "spion.quantile"}
    writer.add("speed", "spion_cf", cell=cell, metrics={"attention_ms": metric(1.0, "ms")})
    row = only(records_frame(writer.folder))
    assert (row["compile"], row["factor"]) == (mode, "spion.quantile")
    assert row["level"] == str(settings.spion.quantile)


def test_a_kernel_case_has_its_shape(writer):
    writer.add_kernel("pipeline", metrics={"forward_ms": metric(1.0, "ms")})
    row = only(records_frame(writer.folder))
    assert (row["case"], row["length"], row["batch_size"], row["block_size"]) == (
        "attention_4096",
        4096,
        1,
        64,
    )
    assert all(pd.isna(row[name]) for name in ("task", "factor", "level", "compile"))


def test_a_cell_without_numbers_has_a_row_without_a_metric(writer):
    writer.add("speed", "dense_sdpa", is_loaded=False, status="oom", reason="too large")
    row = only(records_frame(writer.folder))
    assert (row["status"], row["reason"], row["task"]) == ("oom", "too large", "image")
    for name in ("metric", "value", "n_samples", "source", "stand_in", "exact", "is_spion"):
        assert pd.isna(row[name]), name


def test_nan_is_a_number_that_was_measured(writer):
    writer.add("accuracy", "spion_cf", metrics={"final_train_loss": metric(math.nan, "nat")})
    writer.add("speed", "spion_cf", metrics={"forward_ms": metric(math.inf, "ms")})
    frame = records_frame(writer.folder)
    assert frame["metric"].notna().all()
    assert math.isnan(frame["value"][0])
    assert frame["value"][1] == math.inf


def test_an_approximate_attention_says_so(writer):
    writer.add("speed", "reformer", attention=AttentionInfo(exact=False))
    assert not only(records_frame(writer.folder))["exact"]


def test_columns_are_typed_even_if_empty(writer):
    writer.add("gate", "dense_sdpa")
    types = {name: str(dtype) for name, dtype in records_frame(writer.folder).dtypes.items()}
    assert types == {name: str(dtype) for name, dtype in frame_of([]).dtypes.items()}
    assert types["key"] == types["reason"] == "string"
    assert types["family"] == types["variant"] == types["metric"] == "category"
    assert types["length"] == types["transition_step"] == types["seed"] == "Int64"
    assert types["value"] == types["density"] == "float64"
    assert types["is_spion"] == types["modelled"] == "boolean"
    assert types["started_at"] == "datetime64[ns, UTC]"


def test_the_last_outcome_of_a_cell_counts_in_its_file(tmp_path):
    one, two = RunWriter(tmp_path / "one"), RunWriter(tmp_path / "two")
    one.add("speed", "dense_sdpa", status="crash", reason="signal 9")
    one.add("speed", "dense_sdpa")
    two.add("speed", "dense_sdpa", status="timeout")
    frame = records_frame(tmp_path)
    assert frame["file"].tolist() == ["one/records.jsonl", "two/records.jsonl"]
    assert frame["status"].tolist() == ["ok", "timeout"]


def test_damaged_lines_are_warned_of(writer):
    writer.add("gate", "dense_sdpa", task=IMAGE)
    with writer.path.open("a") as file:
        file.write("no record\n")
    with pytest.warns(UserWarning, match=r"records\.jsonl:2: not a record"):
        frame = records_frame(writer.path)
    assert len(frame) == 1


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="spion-bench run"):
        records_frame(tmp_path / "none")


def test_it_is_public_and_needs_no_torch():
    assert spion_bench.records_frame is records_frame
    code = "import sys, spion_bench; spion_bench.records_frame; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_column_is_documented():
    readme = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    section = readme[readme.index("## The frame") :]
    assert [name for name in COLUMNS if f"`{name}`" not in section] == []


def test_the_committed_records_give_every_number():
    frame = records_frame(ROOT / "results" / "records")
    records, _ = read_records(ROOT / "results" / "records")
    n_metrics = sum(max(1, len(record.measurement.metrics)) for record in records)
    assert len(frame) == n_metrics
    assert frame.loc[frame["metric"].notna(), "value"].notna().all()
