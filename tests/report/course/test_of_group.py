from dataclasses import replace

import numpy as np
import pytest

from spion_bench.records import TaskSettings, TransitionInfo, Turn
from spion_bench.records.settings import MeasureSettings
from spion_bench.report.course.of_group import courses_of
from spion_bench.report.figures.curves import curve_figures
from spion_bench.report.groups import Group, groups, timed_groups
from spion_bench.report.load import load_records
from spion_bench.report.tables.whole_training import reach_tables
from spion_bench.tasks import load_config
from tests.report.run_writer import LISTOPS, RunWriter, metric, sampled

STEPS = 4
SPARSE = TransitionInfo(
    step=2, reason="criterion", layer_steps=[2], sparse_step_share=0.5, is_spion=True
)
TIMES = {"dense_sdpa": 500.0, "spion_cf": 250.0, "no_attention": 100.0}


def asked(batch_size=32, **model):
    config = load_config("listops")
    settings = TaskSettings(
        options={},
        model=config.model.model_copy(update=model),
        train=config.train,
        spion=config.spion,
        recipe="corrected",
        measure=MeasureSettings(),
    )
    return {"settings": settings, "batch_size": batch_size}


def courses(folder, **changes):
    run = written(folder, **changes)
    (group,) = groups(run, ("accuracy",))
    return courses_of(run, group)


def written(folder, *, times=TIMES, marks=(), timed=None):
    """Write trainings of four steps, and the speed cells of ``times``; return the records."""
    writer = RunWriter(folder)
    for name in ("dense_sdpa", "spion_cf", "no_attention"):
        is_spion = name == "spion_cf"
        arrays = {
            "curve_step": np.arange(1, STEPS + 1),
            "curve_phase": (is_spion & (np.arange(STEPS) >= 2)).astype(np.int8),
            "curve_train_loss": np.zeros(STEPS),
            "curve_dev_step": np.array([2, 4]),
            "curve_dev_accuracy": np.array([0.5, 0.2 if name == "no_attention" else 0.52]),
            "curve_dev_loss": np.zeros(2),
        }
        more = {"transition": SPARSE} if is_spion else {}
        metrics = {"test_accuracy": metric(0.5, "ratio", up=True)}
        if is_spion:
            metrics["pattern_wall_s"] = metric(1.0, "s")
        for seed in range(2):
            artifacts = writer.add_artifact(f"{name}{seed}.npz", arrays)
            fields = {"metrics": metrics, "artifacts": artifacts, **more}
            writer.add("accuracy", name, task=LISTOPS, seed=seed, cell=asked(), **fields)
    turn = Turn(methods=list(times), rounds=8, baseline="dense_sdpa", aa={}, marks=list(marks))
    for name, ms in times.items():
        step = {"train_step_ms": sampled(ms, "ms", n=8, spread=0.0)}
        cell = timed or asked()
        writer.add("speed", name, task=LISTOPS, cell=cell, metrics=step, turn=turn)
    return load_records(folder)


def test_runs_get_the_quiet_times_of_their_steps(tmp_path):
    found = courses(tmp_path)
    dense, spion, floor = (found[name] for name in TIMES)
    assert dense.basis == "step times of the speed pass, 2 threads, 8 rounds"
    assert [run.total_s for run in dense.runs.values()] == pytest.approx([2.0, 2.0])
    assert spion.runs[0].seconds == pytest.approx([1.0, 2.5])
    assert dense.speedup is None
    assert spion.speedup.value == pytest.approx(2.0 / 2.5)
    assert floor.speedup.value == pytest.approx(5.0)
    assert [reach.seconds.value for reach in dense.reaches] == pytest.approx([1.0, 1.0, 2.0])
    assert spion.reaches[2].seconds.value == pytest.approx(2.5)
    assert floor.reaches[2].seconds is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"times": {}}, "no speed cell in this run"),
        ({"times": {"spion_cf": 1.0}}, "dense attention: no speed cell in this run"),
        ({"marks": ["A/A is off by 9 %"]}, "step times are marked: A/A is off by 9 %"),
        ({"timed": asked(batch_size=1)}, "the speed pass timed another model or batch"),
        ({"timed": asked(layers=1)}, "the speed pass timed another model or batch"),
    ],
    ids=["none", "no dense", "marked", "batch", "model"],
)
def test_without_quiet_times_there_is_no_time(tmp_path, changes, reason):
    spion = courses(tmp_path, **changes)["spion_cf"]
    assert not spion.is_timed
    assert spion.basis.startswith("not measured: ")
    assert reason in spion.basis
    assert (spion.reaches, spion.speedup) == ((), None)


def test_the_report_says_when_an_accuracy_is_reached(tmp_path):
    run = written(tmp_path)
    (table,) = reach_tables(run)
    rows = {row[0].text: [entry.text for entry in row[1:]] for row in table.rows}
    assert rows["dense_sdpa"] == ["2", "1.00\u202fs", "1.00\u202fs", "2.00\u202fs", "baseline"]
    assert rows["spion_cf"][3:] == ["2.50\u202fs", "0.800\u00d7"]
    assert rows["no_attention"][1] == "200\u202fms"
    assert rows["no_attention"][3] == "not reached"
    assert "speed pass, 2 threads, 8 rounds" in table.caption
    (figure,) = curve_figures(run)
    assert "training time (s, computed)" in figure.svg
    assert "Time is computed from step times of the speed pass" in figure.caption


def test_without_step_times_neither_table_nor_panel_is_shown(tmp_path):
    run = written(tmp_path, times={})
    assert reach_tables(run) == []
    (figure,) = curve_figures(run)
    assert "training time" not in figure.svg


def test_times_with_other_threads_serve_where_there_are_none_with_the_same(tmp_path):
    run = written(tmp_path)
    other = replace(groups(run, ("accuracy",))[0].setting, threads=1, profile="other")
    (group,) = groups(run, ("speed",))
    assert timed_groups(run, Group(other, "")) == [group]
    assert timed_groups(run, Group(replace(other, machine="Another CPU"), "")) == []
