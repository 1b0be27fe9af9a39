import math
from typing import get_args

from spion_bench.records import Status
from spion_bench.report.load import load_records
from spion_bench.report.tables.status import (
    failure_table,
    gate_table,
    numbers_table,
    status_table,
)
from tests.report.reading import rows_of
from tests.report.run_writer import RunWriter, gate_errors, metric
from tests.report.sample_run import FAILURES


def test_counts_of_every_status_add_up(sample):
    rows = rows_of(status_table(sample))
    total = rows["all"]
    assert total["total"].value == len(sample.outcomes) == 37
    counts = {status: total[status].value for status in get_args(Status)}
    assert counts == {"ok": 30, **dict.fromkeys(FAILURES, 1)}
    assert sum(rows[name]["total"].value for name in rows if name != "all") == 37


def test_every_failure_is_listed_with_its_reason(sample):
    rows = rows_of(failure_table(sample), "status")
    assert {status: row["reason"].text for (status,), row in rows.items()} == FAILURES


def test_no_failure_table_without_failures(tmp_path):
    RunWriter(tmp_path).add("gate", "dense_sdpa")
    assert failure_table(load_records(tmp_path)) is None


def test_gate_errors_with_what_is_allowed(sample):
    rows = rows_of(gate_table(sample), "setting", "pass", "method")
    row = rows["image, L\u00a0=\u00a01024", "gate", "spion_cf"]
    assert row["error_out"].value == 2.1e-7
    assert row["error_out"].note == "allowed\u00a04.2\u00d710⁻⁶"
    assert row["status"].text == "passed"
    assert "error_out_budget" not in row
    failed = rows["image, L\u00a0=\u00a04096", "gate", "dense_eager"]
    assert (failed["status"].text, failed["status"].note) == (
        "gate_failed",
        FAILURES["gate_failed"],
    )
    assert failed["error_out"].text == "not measured"


def test_gates_inside_other_passes_are_shown_and_excess_is_marked(tmp_path):
    errors = gate_errors(out=(2e-5, 1e-5))
    RunWriter(tmp_path).add("speed", "spion_cf", gate=errors, status="gate_failed")
    rows = rows_of(gate_table(load_records(tmp_path)), "pass")
    assert rows["speed",]["error_out"].flag == "warning"


def test_no_gate_table_without_gates(tmp_path):
    RunWriter(tmp_path).add("memory", "dense_sdpa")
    assert gate_table(load_records(tmp_path)) is None


def test_every_metric_of_every_record_is_in_the_table_of_numbers(sample):
    rows = rows_of(numbers_table(sample), "cell_key", "metric")
    expected = {
        (o.record.key, name): metric.value
        for o in sample.outcomes
        for name, metric in o.measured.metrics.items()
    }
    assert {key: row["value"].value for key, row in rows.items()} == expected
    assert {row["unit"].text for row in rows.values()} >= {"ms", "bytes", "ratio", "FLOP"}


def test_a_gate_that_failed_with_nan_is_shown_as_failed(tmp_path):
    writer = RunWriter(tmp_path)
    nan = gate_errors(out=(math.nan, 1e-5), dq=(math.inf, 1e-5), dk=(1e-6, 1e-5))
    writer.add("gate", "spion_cf", gate=nan, status="gate_failed", reason="out is NaN")
    writer.add("gate", "spion_c", gate=nan)
    run = load_records(tmp_path)
    rows = rows_of(gate_table(run), "method")
    assert rows["spion_cf",]["status"].text == "gate_failed"
    assert (rows["spion_c",]["status"].text, rows["spion_c",]["status"].flag) == (
        "failed",
        "warning",
    )
    assert rows["spion_c",]["status"].note == "not within the allowed error: out, dq"
    entry = rows["spion_cf",]["error_out"]
    assert (entry.text, entry.flag) == ("NaN", "warning")
    assert rows["spion_cf",]["error_dq"].text == "infinite"
    assert rows["spion_cf",]["error_dk"].flag == ""
    assert rows_of(status_table(run))["gate"]["gate_failed"].value == 1


def test_nan_and_infinity_are_numbers_on_the_page_and_in_the_csv_file(tmp_path):
    metrics = {
        "train_step_ms": metric(math.nan, "ms", samples=[math.nan, 1.0]),
        "final_train_loss": metric(math.inf, "nat"),
    }
    RunWriter(tmp_path).add("speed", "dense_sdpa", metrics=metrics)
    table = numbers_table(load_records(tmp_path))
    assert [row[3].text for row in table.rows] == ["NaN", "infinite"]
    csv = table.to_frame().to_csv(index=False)
    assert ",NaN,ms,2" in csv
    assert ",inf,nat,1" in csv
