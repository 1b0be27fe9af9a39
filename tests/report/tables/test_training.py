import pytest

from spion_bench.report.load import load_records
from spion_bench.report.tables.training import block_tables, phase_tables, seed_tables
from tests.report.reading import plain, rows_of, titled
from tests.report.run_writer import IMAGE, RunWriter, metric
from tests.report.sample_run import add_training


def test_phase_times_are_means_over_seeds(sample):
    rows = rows_of(titled(phase_tables(sample), "image, L = 256"))
    entry = rows["spion_cf"]["sparse_wall_s"]
    assert entry.value == pytest.approx(10.5)
    assert (entry.low, entry.high) == pytest.approx((10.5 - 2.4841, 10.5 + 2.4841), abs=1e-3)
    assert plain(rows["spion_cf"]["pattern_wall_s"].text) == "31.0 ms"
    assert rows["spion_cf"]["sparse_peak_bytes"].value == 88e6
    assert rows["dense_sdpa"]["sparse_wall_s"].flag == "absent"


def test_a_phase_that_was_not_metered_says_so(tmp_path):
    writer = RunWriter(tmp_path)
    writer.add("accuracy", "spion_cf", metrics={"dense_wall_s": metric(1.0, "s")})
    [table] = phase_tables(load_records(tmp_path))
    entry = rows_of(table)["spion_cf"]["sparse_peak_bytes"]
    assert (entry.text, entry.note) == ("not measured", "the record has no sparse_peak_bytes")


def test_an_interval_of_a_time_stops_at_zero(tmp_path):
    writer = RunWriter(tmp_path)
    for seed, value in enumerate((0.1, 30.0)):
        times = {"dense_wall_s": metric(value, "s")}
        writer.add("accuracy", "dense_sdpa", seed=seed, metrics=times)
    [table] = phase_tables(load_records(tmp_path))
    assert rows_of(table)["dense_sdpa"]["dense_wall_s"].low == 0.0


def test_every_training_run_has_a_row(sample):
    rows = rows_of(titled(seed_tables(sample), "image, L = 256"), "method", "seed")
    assert list(rows) == [(m, seed) for m in ("dense_sdpa", "spion_cf") for seed in range(3)]
    row = rows["spion_cf", 1]
    measured = next(
        o.measured for o in sample.ok("accuracy") if (o.method.name, o.cell.seed) == ("spion_cf", 1)
    )
    test = measured.metrics["test_accuracy"]
    entry = row["test_accuracy_ratio"]
    assert (entry.value, entry.low, entry.high) == (test.value, test.low, test.high)
    assert row["transition"].text == "step 180 (criterion)"
    assert row["sparse_step_ratio"].value == measured.transition.sparse_step_share
    assert rows["spion_cf", 0]["transition"].text == "step 160 (forced)"


def test_seed_tables_label_not_spion_and_failures(sample):
    tables = seed_tables(sample)
    row = rows_of(titled(tables, "listops"))["spion_cf"]
    assert row["transition"].note == "not SPION: under 40 % sparse steps"
    failed = rows_of(titled(tables, "image, L = 4096"))["dense_eager"]
    assert (failed["status"].text, failed["test_accuracy_ratio"].note) == ("nan", "nan")


def test_layers_that_turn_sparse_apart_are_listed(tmp_path):
    writer = RunWriter(tmp_path)
    add_training(writer, IMAGE, "spion_cf", 0, accuracy=0.5, transition=100)
    run = load_records(tmp_path)
    transition = run.outcomes[0].measured.transition
    object.__setattr__(transition, "layer_steps", [80, None])
    row = rows_of(seed_tables(run)[0])["spion_cf"]
    assert row["transition"].note == "layers at steps 80, never"


def test_the_share_of_the_largest_class_is_stated(sample):
    caption = titled(seed_tables(sample), "listops").caption
    assert "Always answering the largest class: 17.4 %." in plain(caption)


def test_block_counts_per_layer(sample):
    rows = rows_of(titled(block_tables(sample), "image, L = 256"), "method", "seed", "layer")
    assert len(rows) == 6
    row = rows["spion_cf", 2, 2]
    assert (row["kept_blocks"].value, row["all_blocks"].value) == (58, 1024)
    assert row["density_ratio"].value == 58 / 1024
    assert row["block_size"].value == 8
    assert (row["pattern_source"].text, row["passes"].text) == ("trained in this cell", "accuracy")


def test_a_pattern_used_by_several_passes_is_listed_once(sample):
    rows = rows_of(titled(block_tables(sample), "image, L = 1024"), "method", "layer")
    assert rows["spion_f", 1]["passes"].text == "gate, speed, memory"
