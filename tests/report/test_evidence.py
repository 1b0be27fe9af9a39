"""A group that does not measure attention is shown greyed and is in no comparison."""

import numpy as np
import pytest

from spion_bench.records import TransitionInfo
from spion_bench.report.evidence.of_group import evidence_of
from spion_bench.report.figures.comparison import comparison_figures
from spion_bench.report.groups import groups
from spion_bench.report.load import load_records
from spion_bench.report.narrative import headlines, lede
from spion_bench.report.tables.evidence import evidence_tables
from spion_bench.report.tables.summary import summary_tables
from spion_bench.tasks import load_spec
from tests.report.run_writer import LISTOPS, RunWriter, metric
from tests.report.sample_run import curve_arrays


def write_run(folder, *, bag, **more):
    """Write dense attention, SPION, both controls and all shortcuts.

    ``bag`` is the accuracy of one of them, ``more`` that of other methods.
    """
    writer = RunWriter(folder)
    trained = {"dense_sdpa": 0.8, "spion_cf": 0.75, "no_attention": 0.5, "mean_attention": 0.55}
    trained |= more
    for method, accuracy in trained.items():
        for seed in range(3):
            add(writer, "accuracy", method, accuracy + 0.01 * ((seed + len(method)) % 3), seed)
    for shortcut in load_spec("listops").shortcuts:
        add(writer, "shortcuts", shortcut.name, bag if shortcut.name == "bag" else 0.3, 0)
    return load_records(folder)


def add(writer, pass_name, method, accuracy, seed):
    rng = np.random.default_rng(seed)
    correct = np.arange(LISTOPS.n_test) < accuracy * LISTOPS.n_test
    arrays = {**curve_arrays(rng, accuracy, None), "test_correct": correct}
    name = f"{pass_name}-{method}-s{seed}.npz"
    metrics = {"test_accuracy": metric(float(correct.mean()), "ratio", up=True)}
    fields = {}
    if method.startswith("spion"):
        fields["transition"] = TransitionInfo(
            step=9, reason="criterion", layer_steps=[9], sparse_step_share=0.5, is_spion=True
        )
    artifacts = writer.add_artifact(name, arrays)
    writer.add(
        pass_name, method, task=LISTOPS, seed=seed, metrics=metrics, artifacts=artifacts, **fields
    )


def ranked(run):
    """Return everything of a run that compares accuracies."""
    texts = [headline.label for headline in headlines(run)]
    texts += [figure.alt for figure in comparison_figures(run)]
    return [text for text in texts if "accuracy" in text.lower()]


def flags(run):
    (table,) = summary_tables(run)
    (place,) = (i for i, c in enumerate(table.columns) if c.key == "test_accuracy_ratio")
    return {row[place].flag for row in table.rows}


def test_a_group_that_measures_attention_is_compared(tmp_path):
    run = write_run(tmp_path, bag=0.6)
    (group,) = groups(run, ("accuracy",))
    assert evidence_of(group).measures_attention
    assert ranked(run)
    assert "greyed" not in flags(run)
    assert "a difference of" in " ".join(lede(run))


def test_a_group_that_does_not_is_in_no_ranking(tmp_path):
    run = write_run(tmp_path, bag=0.83)
    assert ranked(run) == []
    assert flags(run) == {"greyed"}
    opening = " ".join(lede(run))
    assert "Does not measure attention" in opening
    assert "a difference of" not in opening
    (table,) = evidence_tables(run)
    assert "not shown to be better than bag" in table.caption
    assert len(table.rows) == 2 + len(load_spec("listops").shortcuts)


@pytest.mark.parametrize("left_out", ["no_attention", "root"])
def test_without_a_control_or_a_shortcut_nothing_is_compared(tmp_path, left_out):
    run = write_run(tmp_path, bag=0.6)
    kept = tuple(o for o in run.outcomes if o.method.name != left_out)
    without = type(run)(run.source, kept, run.files)
    assert ranked(without) == []
    assert f"attention: {left_out} not run" in " ".join(lede(without))
