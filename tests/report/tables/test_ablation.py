import pytest

from spion_bench.records import TransitionInfo
from spion_bench.report.figures.ablation import ablation_figures
from spion_bench.report.groups import groups
from spion_bench.report.load import load_records
from spion_bench.report.tables.ablation import ablation_tables, ablations
from spion_bench.tasks import load_config
from tests.report.course.test_of_group import asked
from tests.report.run_writer import LISTOPS, RunWriter, metric


def transition(is_spion):
    share = 0.5 if is_spion else 0.1
    return TransitionInfo(
        step=2, reason="criterion", layer_steps=[2], sparse_step_share=share, is_spion=is_spion
    )


def cell(factor=None, **spion):
    found = asked()
    settings = found["settings"]
    changed = load_config("listops").spion.model_copy(update=spion)
    settings = settings.model_copy(update={"spion": changed})
    return {**found, "settings": settings, "factor": factor}


@pytest.fixture
def run(tmp_path):
    """Write dense attention, SPION, and levels of the block size and of the pruned scores."""
    writer = RunWriter(tmp_path)

    def add(method, accuracy, cell, key="", is_spion=True):
        for seed in range(3):
            more = {"transition": transition(is_spion)} if method != "dense_sdpa" else {}
            found = {"test_accuracy": metric(accuracy + seed / 100, "ratio", up=True)}
            fields = {"seed": seed, "metrics": found, "key": f"{method}{key}{seed}", **more}
            writer.add("accuracy", method, task=LISTOPS, cell=cell, **fields)

    add("dense_sdpa", 0.6, cell())
    add("spion_cf", 0.5, cell())
    add("spion_cf", 0.4, cell("spion.block_size", block_size=16), "a")
    add("spion_cf", 0.52, cell("spion.block_size", block_size=128), "b")
    add("spion_cf", 0.9, cell("spion.block_size", block_size=256), "c", is_spion=False)
    add("spion_cf", 0.45, cell("spion.pruned", pruned="minus_inf"), "d")
    return load_records(tmp_path)


def test_levels_are_compared_with_the_usual_one_seed_by_seed(run):
    size, pruned = ablations(run)
    assert [level.value for level in size.levels] == [16, 64, 128]  # 256 was never SPION
    assert [level.is_base for level in size.levels] == [False, True, False]
    found = [size.difference(level.outcomes).value for level in size.levels]
    assert found == pytest.approx([-0.1, 0.0, 0.02])
    assert [level.value for level in pruned.levels] == ["minus_inf", "zero_logit"]


def test_levels_are_in_no_other_comparison(run):
    (group,) = groups(run, ("accuracy",))
    assert [len(cells.of("accuracy")) for cells in group.methods.values()] == [3, 3]
    assert {o.cell.factor for o in group.outcomes} == {None}


def test_table_and_figure_say_every_level_and_what_they_are_worth(run):
    (table,) = ablation_tables(run)
    texts = [[entry.text for entry in row] for row in table.rows]
    assert [row[:2] for row in texts] == [
        ["block size", "16"],
        ["block size", "64"],
        ["block size", "128"],
        ["pruned", "minus_inf"],
        ["pruned", "zero_logit"],
    ]
    assert [row[4] for row in texts][1] == "base"
    assert "does not measure attention" in table.caption
    (figure,) = ablation_figures(run)
    assert "block size: 16: -10.0, 64: +0.0, 128: +2.0 points" in figure.alt
    assert "does not measure attention" in figure.caption
