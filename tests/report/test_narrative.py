import pytest

from spion_bench.report import narrative
from spion_bench.report.load import load_records
from spion_bench.report.narrative import headlines, lede, overview_items
from tests.report.reading import plain
from tests.report.run_writer import IMAGE, RunWriter, sampled
from tests.report.sample_run import add_training


@pytest.fixture
def comparable(monkeypatch):
    """Let every group measure attention."""
    monkeypatch.setattr(narrative, "may_compare", lambda group: True)


@pytest.fixture
def opening(sample, comparable):
    return plain(" ".join(lede(sample)))


def test_lede_says_what_was_run_on_what(opening):
    assert "5 attention methods (dense_sdpa, dense_eager, spion_c, spion_f and spion_cf)" in opening
    assert "image (digits, a stand-in) at L = 256, 1024 and 2048" in opening
    assert "Example CPU 9000 (2 threads, no GPU)" in opening


def test_shortcuts_are_no_attention_methods(tmp_path):
    writer = RunWriter(tmp_path)
    writer.add("accuracy", "dense_sdpa")
    for name in ("majority", "pixels"):
        writer.add("shortcuts", name)
    said = plain(lede(load_records(tmp_path))[0])
    assert "1 attention method (dense_sdpa), beside 2 shortcuts, on image" in said


def test_lede_says_what_came_out(opening):
    assert "spion_cf reached 93.7 % [92.2, 95.2] test accuracy and dense_sdpa 94.9 %" in opening
    assert (
        "a difference of \u22121.2 points [\u22121.7, \u22120.7] (mean of 3 paired seeds" in opening
    )
    assert "5.7 % of the blocks kept and 55.0 % of the steps sparse" in opening
    assert "Always answering the largest class: 10.3 %." in opening
    assert "a training step with spion_cf ran 1.88" in opening
    assert "as fast as with dense_sdpa (faster)" in opening


def test_lede_says_what_is_missing_and_what_does_not_follow(opening):
    assert (
        "Of 37 cells, 30 gave numbers. 7 cells gave none; the section Statuses lists the reasons."
        in opening
    )
    assert "1 stored item could not be read." in opening
    assert "Accuracies on stand-in data say nothing about the published accuracies." in opening
    assert "CPU times neither confirm nor refute the published GPU times." in opening


def test_a_source_called_stand_in_is_not_called_so_twice(tmp_path):
    task = IMAGE.model_copy(update={"name": "retrieval", "source": "stand-in"})
    RunWriter(tmp_path).add("gate", "spion_cf", task=task)
    assert "on retrieval (stand-in) at L" in lede(load_records(tmp_path))[0]


def test_not_spion_runs_make_no_claim(opening, sample):
    assert "On listops" not in opening
    assert not any("listops" in headline.basis for headline in headlines(sample))


def test_headlines_are_the_same_numbers_as_the_tables(sample, comparable):
    found = {headline.label: headline for headline in headlines(sample)}
    assert plain(found["Test accuracy, spion_cf minus dense_sdpa"].value) == "\u22121.2 points"
    assert found["Training step, spion_cf against dense_sdpa"].value == "1.88\u00d7"
    label = "Attention kernel, forward + backward, block_attention against dense_sdpa"
    assert found[label].value == "15.4\u00d7"
    assert "2.9 % of the blocks kept" in plain(found[label].basis)
    assert found["Peak memory of a step, dense_sdpa against spion_cf"].value == "1.46\u00d7"
    assert found["Cells with numbers"].value == "30 of 37"


def test_kernel_headline_is_not_the_luckiest_kernel(tmp_path):
    writer = RunWriter(tmp_path)
    for method, ms in (("dense_sdpa", 10.0), ("pipeline", 1.0), ("block_attention", 2.0)):
        times = {"forward_backward_ms": sampled(ms, "ms")}
        writer.add_kernel(method, case="attention_256", metrics=times)
    found = headlines(load_records(tmp_path))
    assert "block_attention" in found[0].label


def test_overview_is_a_geometric_mean_over_settings(tmp_path):
    writer = RunWriter(tmp_path)
    for length, factor in ((1024, 2.0), (2048, 8.0)):
        task = IMAGE.model_copy(update={"length": length})
        for method, ms in (("dense_sdpa", 10.0 * factor), ("spion_cf", 10.0)):
            times = {"train_step_ms": sampled(ms, "ms", spread=0.0)}
            writer.add("speed", method, task=task, metrics=times)
    assert overview_items(load_records(tmp_path)) == [
        "spion_cf: 4.00\u00d7 geometric mean of the training-step speed-up over 2 settings, "
        "from 2.00\u00d7 to 8.00\u00d7."
    ]


def test_one_seed_makes_no_interval(tmp_path, comparable):
    writer = RunWriter(tmp_path)
    add_training(writer, IMAGE, "dense_sdpa", 0, accuracy=0.6)
    add_training(writer, IMAGE, "spion_cf", 0, accuracy=0.5, transition=100)
    found = headlines(load_records(tmp_path))[0]
    assert (plain(found.value), found.interval) == ("\u221210.0 points", "")
    assert found.basis.endswith("one paired seed, no interval")
