from spion_bench.records import MethodInfo
from spion_bench.report.load import load_records
from spion_bench.report.provenance_tables import (
    data_table,
    deviation_table,
    environment_table,
    method_table,
    settings_table,
)
from tests.report.reading import rows_of
from tests.report.run_writer import ENVIRONMENT, RunWriter


def test_stand_ins_are_called_stand_ins(sample):
    rows = rows_of(data_table(sample), "task", "length")
    assert rows["image", 256]["kind"].text == "stand-in"
    assert rows["image", 256]["kind"].flag == "warning"
    assert rows["listops", 128]["kind"].text == "task's own"
    assert rows["listops", 128]["fingerprint"].value == "cd" * 32
    assert rows["image", 256]["source"].note == "scikit-learn 1.5.0"


def test_methods_with_parameters_caveats_and_passes(sample):
    rows = rows_of(method_table(sample))
    assert rows["dense_eager"]["caveats"].text == "stores all [B, H, L, L] probabilities"
    assert (
        rows["spion_cf"]["parameters"].text == "variant = CF, block_size = 8, pruned = zero_logit"
    )
    assert rows["spion_cf"]["passes"].text == "accuracy, gate, speed, memory"


def test_a_method_known_only_from_failures_is_listed_too(tmp_path):
    info = MethodInfo(name="flex", exact=False)
    RunWriter(tmp_path).add("speed", "flex", status="crash", method_info=info)
    rows = rows_of(method_table(load_records(tmp_path)))
    assert rows["flex"]["exact"].text == "approximate"


def test_deviations_say_where_they_apply(sample):
    row = rows_of(deviation_table(sample))["gradients are cleared (B9.4)"]
    assert row["settings"].text == "image, L\u00a0=\u00a0256; listops, L\u00a0=\u00a0128"
    assert row["methods"].text == "dense_sdpa, spion_cf"
    assert row["records"].value == 8


def test_no_deviation_table_without_deviations(tmp_path):
    RunWriter(tmp_path).add("gate", "dense_sdpa")
    assert deviation_table(load_records(tmp_path)) is None


def test_settings_show_differing_values_and_ranges(sample):
    rows = rows_of(settings_table(sample), "pass", "setting", "name")
    speed = ("speed", "image, L\u00a0=\u00a01024")
    assert rows[*speed, "batch_size"]["value"].text == "8"
    assert rows[*speed, "busy_s"]["value"].text.endswith("(5 values)")
    kernel = ("kernel", "random input, L\u00a0=\u00a04096")
    assert rows[*kernel, "H"]["value"].text == "2 / 1"


def test_environment_in_columns_with_ranges_and_gaps(tmp_path):
    writer = RunWriter(tmp_path)
    for changes in ({}, {"load_average": 1.5}, {"threads": 1, "git_sha": None}):
        writer.add(
            "gate", "dense_sdpa", seed=writer.n, environment=ENVIRONMENT.model_copy(update=changes)
        )
    table = environment_table(load_records(tmp_path))
    assert [column.label for column in table.columns] == ["Property", "2 records", "1 record"]
    rows = rows_of(table)
    assert rows["Load average (1 min)"]["environment_1"].text == "0.5 to 1.5"
    assert rows["Threads used"]["environment_2"].text == "1"
    assert rows["Code (git)"]["environment_2"].note == "not recorded"
    assert rows["GPU"]["environment_1"].note == "no GPU"
    assert rows["Uncommitted changes"]["environment_1"].flag == "warning"
    assert rows["Compiler flags"]["environment_1"].text == "-O3 -fopenmp"
