import statistics

import pytest

from spion_bench.report.load import load_records
from spion_bench.report.tables.summary import detail_tables, summary_tables
from tests.report.reading import plain, rows_of, titled
from tests.report.run_writer import IMAGE, RunWriter, metric, sampled
from tests.report.sample_run import add_training


def test_accuracy_is_the_mean_over_seeds_with_t_interval(sample):
    table = titled(summary_tables(sample), "image, L = 256")
    entry = rows_of(table)["spion_cf"]["test_accuracy_ratio"]
    values = [0.931, 0.937, 0.943]
    half = 4.302653 * statistics.stdev(values) / 3**0.5
    assert entry.value == pytest.approx(statistics.mean(values))
    assert (entry.low, entry.high) == pytest.approx((0.937 - half, 0.937 + half))
    assert plain(entry.text) == "93.7 %"
    assert entry.note == "mean of 3 seeds, t interval"


def test_step_time_speedup_and_memory_come_from_the_records(sample):
    rows = rows_of(titled(summary_tables(sample), "image, L = 1024"))
    records = {
        (o.pass_name, o.method.name): o.measured.metrics
        for o in sample.outcomes
        if o.cell.label == "image1024"
    }
    for method in ("dense_eager", "spion_c", "spion_f", "spion_cf"):
        own = records["speed", method]["train_step_ms"]
        base = records["speed", "dense_sdpa"]["train_step_ms"]
        step, speedup = rows[method]["train_step_ms"], rows[method]["train_step_speedup"]
        assert (step.value, step.low, step.high) == (own.value, own.low, own.high)
        assert speedup.value == base.value / own.value
        assert speedup.low < speedup.value < speedup.high
        peak = records["memory", method]["train_step_peak_bytes"].value
        assert rows[method]["train_step_peak_bytes"].value == peak
    assert rows["dense_eager"]["train_step_speedup"].note == "slower"
    assert rows["spion_cf"]["train_step_speedup"].note == "faster"
    assert rows["dense_sdpa"]["train_step_speedup"].text == "baseline"


def test_rows_follow_a_fixed_method_order(sample):
    table = titled(summary_tables(sample), "image, L = 1024")
    assert list(rows_of(table)) == ["dense_sdpa", "dense_eager", "spion_c", "spion_f", "spion_cf"]


def test_density_and_sparse_steps(sample):
    rows = rows_of(titled(summary_tables(sample), "image, L = 256"))
    assert rows["spion_cf"]["density_ratio"].value == pytest.approx(58 / 1024)
    assert rows["spion_cf"]["sparse_step_ratio"].value == pytest.approx(0.55)
    assert rows["dense_sdpa"]["density_ratio"].text == "all"


def test_columns_that_were_not_measured_become_one_sentence(sample):
    table = titled(summary_tables(sample), "image, L = 256")
    assert "train_step_ms" not in [column.key for column in table.columns]
    assert "training step" in table.notes[0]
    assert table.notes[0].startswith("Not measured in this setting (no such cell):")


def test_failed_cells_say_why_and_are_never_zero(sample):
    row = rows_of(titled(summary_tables(sample), "image, L = 4096"))["dense_eager"]
    entry = row["train_step_ms"]
    assert (entry.text, entry.value, entry.flag) == ("not measured", None, "missing")
    assert entry.note == "oom: asked for 4.3 GB of 2 GB (and 4 more)"
    assert row["test_accuracy_ratio"].note == "nan: training loss is NaN at step 17"


def test_a_run_with_too_few_sparse_steps_is_not_spion(sample):
    row = rows_of(titled(summary_tables(sample), "listops, L = 128"))["spion_cf"]
    assert row["method"].note == "not SPION: too few sparse steps"
    assert row["test_accuracy_ratio"].note.startswith("not SPION; 1 seed")
    assert row["test_accuracy_ratio"].flag == "warning"


def test_not_spion_seeds_are_left_out_of_the_mean(tmp_path):
    writer = RunWriter(tmp_path)
    for seed, transition in enumerate((100, 120, 390)):
        accuracy = (0.8, 0.82, 0.1)[seed]
        add_training(writer, IMAGE, "spion_cf", seed, accuracy=accuracy, transition=transition)
    [table] = summary_tables(load_records(tmp_path))
    entry = rows_of(table)["spion_cf"]["test_accuracy_ratio"]
    assert entry.value == pytest.approx(0.81)
    assert entry.note == "mean of 2 seeds, t interval; 1 of 3 left out"


def test_no_ratio_across_runs_or_without_the_baseline(tmp_path):
    for name, method in (("one", "dense_sdpa"), ("two", "spion_cf")):
        RunWriter(tmp_path / name).add(
            "speed", method, metrics={"train_step_ms": sampled(10.0, "ms")}
        )
    tables = summary_tables(load_records(tmp_path))
    assert len(tables) == 2
    rows = rows_of(tables[1])
    assert "train_step_speedup" not in rows["spion_cf"]
    assert "speed-up over dense_sdpa" in tables[1].notes[0]


def test_several_seeds_of_one_method_are_pooled(tmp_path):
    writer = RunWriter(tmp_path)
    for seed in range(2):
        samples = [1.0 + seed, 2.0 + seed, 3.0 + seed]
        times = metric(2.0 + seed, "ms", samples=samples, low=1.5, high=3.5)
        writer.add("speed", "dense_sdpa", seed=seed, metrics={"train_step_ms": times})
    entry = rows_of(summary_tables(load_records(tmp_path))[0])["dense_sdpa"]["train_step_ms"]
    assert (entry.value, entry.note) == (2.5, "n = 6")


def test_modelled_numbers_say_so(sample):
    row = rows_of(titled(detail_tables(sample), "image, L = 1024"))["spion_cf"]
    entry = row["attention_flops_per_step"]
    assert (entry.flag, entry.note) == ("modelled", "modelled")
    assert plain(entry.text) == "259 MFLOP"
    assert row["forward_ms"].flag == ""


def test_csv_frame_has_raw_numbers_intervals_and_remarks(sample):
    frame = titled(summary_tables(sample), "image, L = 256").to_frame()
    assert frame["method"].tolist() == ["dense_sdpa", "spion_cf"]
    assert frame["test_accuracy_ratio"].tolist() == pytest.approx([0.949, 0.937])
    assert (frame["test_accuracy_ratio_low"] < frame["test_accuracy_ratio"]).all()
    assert frame["sparse_step_ratio"].isna().tolist() == [True, False]
    assert frame["sparse_step_ratio_note"].tolist() == [
        "dense method",
        "50.0\u202f% to 60.0\u202f%",
    ]


def test_provenance_counts_records_and_names_the_file(sample):
    table = titled(summary_tables(sample), "image, L = 1024")
    assert table.provenance == "From 15 records (gate 5, speed 5, memory 5) in records.jsonl."


def test_stand_in_is_named_in_the_caption(sample):
    assert "a stand-in for the published data" in summary_tables(sample)[0].caption
