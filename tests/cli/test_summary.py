import io

import pytest
from rich.console import Console

from spion_bench.cli.summary import exit_code, mean_accuracies, print_summary, result
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
            "0.875 test accuracy",
        ),
    ],
)
def test_main_result_of_a_record(pass_name, fields, expected):
    assert result(record_of(tiny_cell(pass_name), **fields)) == expected


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
    print_summary(Console(file=out, width=140), records)
    return out.getvalue()


def test_summary_has_a_row_per_cell_and_totals():
    out = io.StringIO()
    speed, memory = tiny_cell("speed"), tiny_cell("memory")
    records = [
        record_of(speed, metrics={"train_step_ms": metric(2.0)}),
        record_of(memory, "oom", reason="no room"),
    ]
    print_summary(Console(file=out, width=120), records)
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
    assert line == "image256 spion_cf: test accuracy 0.92 [0.8703, 0.9697], mean of 3 seeds"
    assert mean_accuracies(records[:1]) == []


@pytest.mark.parametrize(
    ("statuses", "code"),
    [(["ok"], 0), (["ok", "unsupported"], 0), (["ok", "crash"], 1), (["skipped"], 1)],
)
def test_exit_code(statuses, code):
    assert exit_code([record_of(tiny_cell("speed"), status) for status in statuses]) == code
