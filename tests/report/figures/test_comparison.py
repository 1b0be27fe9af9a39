import pytest

from spion_bench.report.figures import comparison
from spion_bench.report.figures.comparison import comparison_figures
from spion_bench.report.load import load_records
from tests.report.reading import plain, titled
from tests.report.run_writer import RunWriter, metric


@pytest.fixture(scope="module")
def comparisons(sample):
    return comparison_figures(sample)


def test_comparison_states_its_numbers_in_words(comparisons):
    figure = titled(comparisons, "image, L = 1024")
    assert "Training step: dense_sdpa 211 ms, dense_eager 349 ms" in plain(figure.alt)
    assert "spion_cf 97.0 MB" in plain(figure.alt)
    assert "Test accuracy" not in figure.alt


def test_comparison_marks_not_spion(sample, monkeypatch):
    monkeypatch.setattr(comparison, "may_compare", lambda group: True)
    comparisons = comparison_figures(sample)
    assert "39.0\u202f%, not SPION" in titled(comparisons, "listops").svg
    assert "not SPION" not in titled(comparisons, "image, L = 256").svg


def test_nothing_to_compare_gives_no_figure(tmp_path):
    times = {"train_step_ms": metric(3.0, "ms")}
    RunWriter(tmp_path).add("speed", "dense_sdpa", metrics=times)
    assert comparison_figures(load_records(tmp_path)) == []
