from spion_bench.records import TaskSettings
from spion_bench.records.settings import MeasureSettings
from spion_bench.report.load import load_records
from spion_bench.report.tables.origins import (
    data_table,
    deviation_table,
    environment_table,
    settings_table,
)
from spion_bench.tasks import load_config
from tests.report.reading import rows_of
from tests.report.run_writer import ENVIRONMENT, RunWriter


def test_stand_ins_are_called_stand_ins(sample):
    rows = rows_of(data_table(sample), "task", "length")
    assert rows["image", 256]["kind"].text == "stand-in"
    assert rows["image", 256]["kind"].flag == "warning"
    assert rows["listops", 128]["kind"].text == "task's own"
    assert rows["listops", 128]["fingerprint"].value == "cd" * 32
    assert rows["image", 256]["source"].note == "scikit-learn 1.5.0"


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
    assert rows[*kernel, "heads"]["value"].text == "2 / 1"


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


PUBLISHED = load_config("image")
SETTINGS = TaskSettings(
    options={"source": "digits"},
    model=PUBLISHED.model,
    train=PUBLISHED.train.model_copy(update={"learning_rate": 0.001}),
    spion=PUBLISHED.spion,
    recipe="corrected",
    measure=MeasureSettings(),
)


def test_typed_settings_are_shown_by_section_and_name(tmp_path):
    writer = RunWriter(tmp_path)
    turn = {"methods": ["dense_sdpa", "spion_cf"], "rounds": 5}
    writer.add("speed", "spion_cf", cell={"settings": SETTINGS, "batch_size": 8}, turn=turn)
    table = settings_table(load_records(tmp_path))
    shown = {row[2].text: row[3].text for row in table.rows}
    assert shown["model.layers"] == "2"
    assert shown["train.learning_rate"] == "0.001"
    assert shown["spion.quantile"] == "0.96"
    assert shown["options.source"] == "digits"
    assert (shown["recipe"], shown["measure.rounds"]) == ("corrected", "8")
    assert (shown["turn.methods"], shown["turn.rounds"]) == ("dense_sdpa, spion_cf", "5")
    assert (shown["batch_size"], shown["timeout_s"]) == ("8", "600.0")
