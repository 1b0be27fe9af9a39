import numpy as np
import pytest

from spion_bench.report.figures.growth import growth_blocks, lengths_of
from spion_bench.report.load import load_records
from spion_bench.report.parts import Figure, Table
from tests.report.reading import rows_of
from tests.report.run_writer import IMAGE, RunWriter, sampled
from tests.report.sample_run import pattern_info
from tests.report.tables.test_rivals import add_speed


def write_lengths(writer):
    for length in (1024, 2048, 4096):
        task, times = IMAGE.model_copy(update={"length": length}), length / 1024
        add_speed(writer, "dense_sdpa", task=task, scale=times**2)
        nb = length // 32
        kept = [np.eye(nb, dtype=bool) | (np.arange(nb) % 8 == 0)]
        pattern = pattern_info(kept, 32, "synthetic")
        add_speed(writer, "spion_cf", task=task, scale=times, pattern=pattern)
        peak = {"train_step_peak_bytes": sampled(5e6 * times, "bytes", seed=length)}
        writer.add("memory", "spion_cf", task=task, metrics=peak)
    writer.add("memory", "dense_sdpa", task=task, status="oom", reason="too large")


def test_growth_is_the_slope_over_the_length(tmp_path):
    write_lengths(RunWriter(tmp_path))
    run = load_records(tmp_path)
    figure, table = growth_blocks(run)
    assert isinstance(figure, Figure)
    assert isinstance(table, Table)
    rows = rows_of(table)
    assert rows["dense_sdpa"]["train_step_ms_slope"].value == pytest.approx(2.0, abs=0.03)
    assert rows["spion_cf"]["train_step_ms_slope"].value == pytest.approx(1.0, abs=0.03)
    assert rows["spion_cf"]["train_step_peak_bytes_slope"].value == pytest.approx(1.0, abs=0.03)
    assert rows["dense_sdpa"]["train_step_peak_bytes_slope"].note == "oom: too large"
    assert rows["dense_sdpa"]["kept_slope"].value == pytest.approx(2.0)
    assert rows["dense_sdpa"]["kept"].text == "1024 to 4096"
    own = rows["spion_cf"]
    assert own["kept"].text == "156 to 540"  # every eighth block, and the diagonal
    assert "4.9 to 16.9 blocks per row" in own["kept"].note
    assert own["kept_slope"].note == "grows with L\u00b2"
    assert "1024: " in figure.alt
    assert "dense_sdpa" in figure.alt


def test_two_lengths_are_too_few(tmp_path):
    writer = RunWriter(tmp_path)
    for length in (1024, 2048):
        add_speed(writer, "spion_cf", task=IMAGE.model_copy(update={"length": length}))

    assert lengths_of(load_records(tmp_path)) == []
