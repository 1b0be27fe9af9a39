import io

import pytest
from rich.console import Console

from spion_bench.cli.summary import (
    exit_code,
    mean_accuracies,
    print_summary,
    result,
    summary_data,
    worth,
)
from spion_bench.records import read_records
from spion_bench.records.statistics import Estimate
from spion_bench.report.evidence.rule import Evidence
from tests import ROOT
from tests.cells import gate_errors, metric, record_of, tiny_cell


@pytest.mark.parametrize(
    ("pass_name", "fields", "expected"),
    [
        ("gate", {"gate": gate_errors(out=1.5e-7)}, "largest output error 1.5e-07"),
        (
            "speed",
            {"metrics": {"train_step_ms": metric(12.345, low=11, high=13)}},
            "12.35 ms [11, 13]",
        ),
        ("memory", {"metrics": {"train_step_peak_bytes": metric(2.5e6, "bytes")}}, "2.5 MB"),
        (
            "accuracy",
            {"metrics": {"dense_wall_s": metric(1, "s"), "test_accuracy": metric(0.875, "ratio")}},
            "0.875 test accuracy, not shown to measure attention",
        ),
    ],
)
def test_main_result_of_a_record(pass_name, fields, expected):
    assert result(record_of(tiny_cell(pass_name), **fields)) == expected


def evidence(low):
    """Return what a group says of which dense attention beats the control by at least ``low``."""
    return Evidence({"no_attention": Estimate(0.2, low, 0.3)})


@pytest.mark.parametrize(("low", "mark"), [(0.1, ""), (-0.1, ", not shown to measure attention")])
def test_an_accuracy_says_unless_its_group_measures_attention(low, mark):
    record = record_of(tiny_cell("accuracy"), metrics={"test_accuracy": metric(0.9, "ratio")})
    found = {record.key: evidence(low)}
    assert result(record, found[record.key]) == f"0.9 test accuracy{mark}"
    out = io.StringIO()
    print_summary(Console(file=out, width=200), [record], found)
    assert f"image256: {found[record.key].sentence}" in out.getvalue()
    (cell,) = summary_data([record], found)["cells"]
    assert cell["measures_attention"] is not bool(mark)


def test_what_accuracies_are_worth_is_read_from_the_folder():
    folder = ROOT / "results" / "records" / "amd-epyc-x2" / "smoke"
    records, _ = read_records(folder)
    found = worth(folder, records)
    accuracies = {r.key for r in records if r.cell.pass_name == "accuracy"}
    assert accuracies <= set(found)
    assert not any(each.measures_attention for each in found.values())
    assert worth(folder, [r for r in records if r.key not in accuracies]) == {}


def test_summary_says_on_which_machine_each_number_was_measured():
    here, there = record_of(tiny_cell("speed")), record_of(tiny_cell("memory"))
    elsewhere = there.environment.model_copy(update={"machine": "Other CPU x 9", "gpu": "Some GPU"})
    there = there.model_copy(update={"environment": elsewhere})
    rows = shown([here, there]).splitlines()
    assert any("speed" in row and "Test CPU x 2" in row for row in rows)
    assert any("memory" in row and "Other CPU x 9, Some GPU" in row for row in rows)
    assert "Measured on Test CPU x 2" in shown([here])


def shown(records):
    out = io.StringIO()
    print_summary(Console(file=out, width=140), records, {})
    return out.getvalue()


def test_summary_has_a_row_per_cell_and_totals():
    out = io.StringIO()
    speed, memory = tiny_cell("speed"), tiny_cell("memory")
    records = [
        record_of(speed, metrics={"train_step_ms": metric(2.0)}),
        record_of(memory, "oom", reason="no room"),
    ]
    print_summary(Console(file=out, width=120), records, {})
    text = out.getvalue()
    assert "2 ms" in text
    assert "no room" in text
    assert text.splitlines()[-1] == "2 cells: 1 ok, 1 oom"


def test_accuracies_of_several_seeds_are_averaged():
    records = [
        record_of(
            tiny_cell("accuracy", seed=seed), metrics={"test_accuracy": metric(value, "ratio")}
        )
        for seed, value in enumerate((0.90, 0.92, 0.94))
    ]
    (line,) = mean_accuracies(records)
    shown = "image256 spion_cf: test accuracy 0.92 [0.8703, 0.9697], mean of 3 seeds"
    assert line == f"{shown}, not shown to measure attention"
    found = {record.key: evidence(low=0.1) for record in records}
    assert mean_accuracies(records, found) == [shown]
    assert mean_accuracies(records[:1]) == []


@pytest.mark.parametrize(
    ("statuses", "code"),
    [(["ok"], 0), (["ok", "unsupported"], 0), (["ok", "crash"], 1), (["skipped"], 1)],
)
def test_exit_code(statuses, code):
    assert exit_code([record_of(tiny_cell("speed"), status) for status in statuses]) == code
