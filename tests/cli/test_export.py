import importlib.util
import io
import math

import pandas as pd
import pytest
from click.testing import CliRunner

from spion_bench import records_frame
from spion_bench.cli.export import export
from tests.report.run_writer import RunWriter, metric


@pytest.fixture
def records(tmp_path):
    writer = RunWriter(tmp_path / "run")
    times = metric(2.0, "ms", samples=[1.0, 2.0, 3.0], low=1.0, high=3.0)
    writer.add("speed", "dense_sdpa", metrics={"train_step_ms": times})
    writer.add("accuracy", "spion_cf", metrics={"final_train_loss": metric(math.nan, "nat")})
    writer.add("memory", "spion_cf", status="oom", reason='too "large"')
    return writer.folder


def run(*arguments):
    return CliRunner().invoke(export, [str(argument) for argument in arguments])


def test_csv_goes_to_standard_output_and_can_be_read_again(records):
    result = run(records)
    assert result.exit_code == 0
    frame = pd.read_csv(io.StringIO(result.stdout), keep_default_na=False)
    assert frame["method"].tolist() == ["dense_sdpa", "spion_cf", "spion_cf"]
    assert frame["value"].tolist() == ["2.0", "NaN", ""]
    assert frame["reason"].tolist() == ["", "", 'too "large"']
    assert list(frame.columns) == list(records_frame(records).columns)


def test_csv_can_go_into_a_file(records, tmp_path):
    result = run(records, "--out", tmp_path / "all.csv")
    assert "3 rows of 3 cells" in result.stderr
    assert (tmp_path / "all.csv").read_text() == run(records).stdout


def test_parquet_keeps_every_type(records, tmp_path):
    pytest.importorskip("pyarrow")
    assert run(records, "--format", "parquet", "--out", tmp_path / "all.parquet").exit_code == 0
    found, expected = pd.read_parquet(tmp_path / "all.parquet"), records_frame(records)
    assert [str(dtype) for dtype in found.dtypes] == [str(dtype) for dtype in expected.dtypes]
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_categorical=False)


def test_parquet_without_pyarrow_names_the_extra(records, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = run(records, "--format", "parquet", "--out", tmp_path / "all.parquet")
    assert result.exit_code == 1
    assert "pip install 'spion_bench[parquet]'" in result.output


def test_parquet_needs_a_file(records):
    result = run(records, "--format", "parquet")
    assert result.exit_code == 2
    assert "expected --out" in result.output


def test_damaged_lines_are_named(records):
    with (records / "records.jsonl").open("a") as file:
        file.write("no record\n")
    result = run(records)
    assert result.exit_code == 0
    assert "warning: records.jsonl:4: not a record" in result.stderr


def test_a_folder_without_records_is_an_error(tmp_path):
    result = run(tmp_path)
    assert result.exit_code == 1
    assert "holds no records" in result.output
