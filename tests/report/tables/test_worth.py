"""What the learned pattern is worth: compared with what continues the same prefix, seed by seed."""

import pytest

from spion_bench.records import PatternInfo, TransitionInfo
from spion_bench.report.docs.front import first_sentence
from spion_bench.report.docs.numbers import RECORDS, ROOT
from spion_bench.report.evidence.worth import worth_sentence, worths_of
from spion_bench.report.figures.worth import worth_figures
from spion_bench.report.groups import groups
from spion_bench.report.load import load_records
from spion_bench.report.narrative import worth_sentences
from spion_bench.report.page import build_page
from spion_bench.report.sections.results import result_sections
from spion_bench.report.tables.evidence import worth_tables
from spion_bench.suite.methods import METHODS
from spion_bench.tasks import load_config
from tests.report.run_writer import LISTOPS, RunWriter, metric

LEADS = {"spion_cf@window": 0.02, "spion_cf@random": -0.05, "dense_sdpa": 0.001}
"""Method -> how much better SPION-CF is; seeds differ by up to 0.004 from it."""


def pattern(mass):
    return PatternInfo(
        source="trained in this cell",
        block_size=8,
        length=128,
        nnzb=[20, 24],
        density=[0.08, 0.09],
        mass_kept=[mass, mass + 0.1],
    )


def write(folder, leads, own_seeds=(0, 1, 2)):
    """Write SPION-CF, and what was trained in its place; a rival shares no prefix."""
    writer = RunWriter(folder)

    def add(name, accuracy, seeds=(0, 1, 2)):
        info = METHODS[name].info(load_config("listops").spion, 128)
        for seed in seeds:
            found = accuracy + 0.01 * seed + (0.004 * (seed - 1) if name == "spion_cf" else 0)
            fields = {"metrics": {"test_accuracy": metric(found, "ratio", up=True)}, "seed": seed}
            if info.variant:
                fields["transition"] = TransitionInfo(
                    step=2, reason="forced", layer_steps=[2], sparse_step_share=0.5, is_spion=True
                )
                fields["pattern"] = pattern(0.5)
            writer.add("accuracy", info, task=LISTOPS, **fields)

    add("spion_cf", 0.5, own_seeds)
    for name, lead in leads.items():
        add(name, 0.5 - lead)
    add("longformer", 0.3)
    return load_records(folder)


def test_what_shares_the_prefix_is_compared_by_seed(tmp_path):
    (group,) = groups(write(tmp_path, LEADS), ("accuracy",))
    found = {worth.other.method: worth for worth in worths_of(group)}
    assert set(found) == set(LEADS)
    for name, lead in LEADS.items():
        assert found[name].lead.value == pytest.approx(lead)
        assert found[name].lead.n == 3
    assert found["spion_cf@window"].verdict == "better than"
    assert found["spion_cf@random"].verdict == "worse than"
    assert found["dense_sdpa"].verdict == "not shown to differ from"


def test_only_seeds_that_both_have_count(tmp_path):
    (group,) = groups(write(tmp_path, LEADS, own_seeds=(1,)), ("accuracy",))
    found = {worth.other.method: worth for worth in worths_of(group)}["spion_cf@window"]
    assert (found.lead.n, found.lead.low) == (1, None)
    assert found.verdict == "not shown to differ from"


def test_the_table_says_lead_and_attention_kept(tmp_path):
    run = write(tmp_path, LEADS)
    (table,) = worth_tables(run)
    rows = {row[0].text: [entry.text for entry in row] for row in table.rows}
    assert set(rows) == {"spion_cf", *LEADS}
    assert rows["spion_cf"][3] == "itself"
    assert rows["spion_cf@window"][3] == "+2.0\u202fpoints"
    assert rows["spion_cf@window"][5] == "55.0\u202f%"
    assert rows["dense_sdpa"][1] == "dense attention goes on"
    assert table.caption.startswith("SPION-CF is better than a window of as many blocks: +2.0")
    assert "3 of its 3 runs were forced to turn sparse." in table.caption
    assert "So nothing follows from the differences." in table.caption  # without any control
    (figure,) = worth_figures(run)
    assert "spion_cf@random: \u22125.0\u202fpoints" in figure.alt
    (accuracy,) = (s for s in result_sections(run) if s.key == "accuracy")
    assert {table.key, figure.key} <= {block.key for block in accuracy.blocks}


def test_without_a_replacement_there_is_nothing_to_say(tmp_path):
    run = write(tmp_path, {"dense_sdpa": 0.0})
    assert worth_tables(run) == []
    assert worth_figures(run) == []
    (group,) = groups(run, ("accuracy",))
    assert worth_sentence(group) is None


def test_the_first_screen_says_it_where_accuracies_measure_attention(tmp_path, monkeypatch):
    run = write(tmp_path, LEADS)
    assert worth_sentences(run) == []
    monkeypatch.setattr("spion_bench.report.narrative.may_compare", lambda group: True)
    (said,) = worth_sentences(run)
    assert said.startswith("On listops, L\u00a0=\u00a0128, SPION-CF is better than a window")
    assert build_page(run).first.answer.endswith(said)


def test_the_first_sentence_keeps_what_measures_no_attention_out(tmp_path, monkeypatch):
    study = write(tmp_path / "study", LEADS)
    speed = load_records(ROOT / RECORDS / "amd-epyc-avx2-x2/speed")
    assert "is not measured yet" in first_sentence(speed, study)
    monkeypatch.setattr("spion_bench.report.docs.front.may_compare", lambda group: True)
    found = first_sentence(speed, study)
    assert found.startswith("The pattern that SPION-CF learns is better than a window of the same")
    assert "(+2.0\u202fpoints [" in found
