"""The first picture says what was measured, what was not, and what does not count."""

import pytest

from spion_bench.report.figures.opening import front_figures, opening_figure, pareto
from spion_bench.report.groups import groups
from spion_bench.report.load import load_records
from spion_bench.report.tables.whole_training import training_times
from tests.report.full_run import write_full_run
from tests.report.reading import plain


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load_records(write_full_run(tmp_path_factory.mktemp("opening") / "study"))


def test_the_front_is_what_nothing_beats_in_both():
    assert pareto([(3.0, 0.9), (1.0, 0.5), (2.0, 0.4), (2.0, 0.7), (4.0, 0.9)]) == [1, 3, 0]


def test_whole_training_has_dense_steps_patterns_and_sparse_steps(run):
    listops = next(g for g in groups(run, ("accuracy",)) if g.setting.task == "listops")
    times = {name: time.seconds.value for name, time in training_times(run, listops).items()}
    assert times["dense_sdpa"] == pytest.approx(400 * 0.1, rel=0.02)
    assert times["spion_cf"] == pytest.approx(200 * 0.1 + 0.3 + 200 * 0.05, rel=0.02)


def test_it_says_accuracies_times_and_all_four_ratios(run):
    text = plain(opening_figure(run).alt)
    assert "listops, L = 128: dense_sdpa 81.0 %, 40.3 s" in text
    assert "image, L = 128: Does not measure attention" in text
    assert "fastest rival, whatever its setting on listops, L = 128: 0.922\u00d7" in text
    assert "same kernel, as many blocks in a window on image, L = 128: 0.985\u00d7 (marked)" in text


def test_it_says_what_was_not_measured(sample):
    text = opening_figure(sample).alt
    assert "time not measured" in text
    assert "whole training: not measured" in text
    assert "same kernel, a rival's pattern: not measured" in text


def test_methods_can_be_told_apart_by_a_script(run):
    figures = [opening_figure(run), *front_figures(run)]
    assert len(figures) == 3
    for figure in figures:
        assert 'data-method="spion_cf@window"' in figure.svg
