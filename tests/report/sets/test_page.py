from pathlib import Path

import pandas as pd
import pytest

from spion_bench.report import render_comparison
from spion_bench.report.sets.page import build_comparison
from spion_bench.report.sets.tables import MOST_FIRST
from tests.report.reading import plain, rows_of
from tests.report.run_writer import RunWriter, sampled

TIMES = "\u00d7"
COMMITTED = Path(__file__).parents[3] / "results" / "records"


@pytest.fixture(scope="module")
def page(sets):
    return build_comparison(sets, "stamp")


def section(page, key):
    return next(section for section in page.sections if section.key == key)


def test_the_first_screen_says_what_differs(page):
    assert page.first.question == "What differs between A and B?"
    answer = plain(page.first.answer).replace(TIMES, "x")
    assert answer.startswith("Of 35 numbers that A and B measured alike, 5 differ clearly, ")
    assert "B against A: whole training slower in 1 of 5 (1.07x); " in answer
    assert "training step slower in 1 of 5 (1.20x)" in answer
    rows = rows_of(page.first.table, "method", "number")
    assert len(rows) == MOST_FIRST
    entry = rows["spion_cf", "Training step"]["b-against-a"]
    assert (entry.text[:4], entry.note, entry.interval[0]) == ("1.20", "slower", "[")
    assert len(entry.sources) == 2
    assert "AVX2. B: " in page.first.table.caption
    assert "Training step: listops" in page.first.picture.alt


def test_every_number_stands_in_a_column_per_set(page):
    (table,) = section(page, "sets-train-step-ms").blocks
    assert [column.label for column in table.columns[2:]] == ["A", "B", "B against A"]
    rows = rows_of(table, "method")
    assert len(rows) == 5
    for row in rows.values():
        assert len({entry.sources for entry in (row["a"], row["b"])}) == 2
    (ratios,) = section(page, "sets-ratios").blocks
    assert {row["method"].text for row in rows_of(ratios, "number").values()} == {"spion_cf"}
    own = rows_of(ratios, "number")[("Training step: fastest rival, whatever its setting",)]
    assert len({entry.text for entry in (own["a"], own["b"])}) == 2
    assert "against bigbird" in own["b"].note
    (facts,) = section(page, "sets").blocks
    assert rows_of(facts)["Instruction set"]["differs"].text == "yes"
    (claims,) = section(page, "claims-by-set").blocks
    assert [column.label for column in claims.columns] == ["Claim", "A", "B"]


def test_a_third_set_is_compared_with_the_first(tmp_path):
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for place, folder in enumerate(folders):
        writer = RunWriter(folder)
        for method in ("dense_sdpa", "spion_cf")[: 2 if place == 2 else 1]:
            writer.add("speed", method, metrics={"train_step_ms": sampled(9.0 + place, "ms")})
        writer.add_kernel("block_attention", metrics={"forward_ms": sampled(1.0 + place, "ms")})
    text = plain(render_comparison(folders, tmp_path / "out").markdown.read_text("utf-8"))
    assert "What differs between A, B and C?" in text
    assert "of 2 numbers that A and C measured alike" in text
    assert "| B against A | C against A |" in text
    assert "| Training step | A and C | only in C | 1 | image, L = 1024: spion\\_cf |" in text
    steps = pd.read_csv(tmp_path / "out" / "tables" / "sets-train-step-ms.csv", skiprows=1)
    assert steps["c-against-a"][0] == pytest.approx(11 / 9, rel=0.02)
    kernels = pd.read_csv(tmp_path / "out" / "tables" / "sets-forward-ms.csv", skiprows=1)
    assert kernels["b-against-a"].tolist() == pytest.approx([2], rel=0.02)


def test_committed_machines_with_nothing_in_common_say_so(tmp_path):
    """They have the same name, and other instruction sets; both timed image at L = 1024."""
    folders = [COMMITTED / "amd-epyc-x2" / "smoke", COMMITTED / "amd-epyc-avx2-x2" / "speed"]
    paths = render_comparison(folders, tmp_path / "out")
    text = paths.markdown.read_text("utf-8")
    assert "A and B have no number in common that can be compared." in text
    assert "AMD EPYC x 2, AVX512. B: " in text
    assert "batch_size: 8 and 4; settings.warmup_s: 0.1 and 0.0 |" in text.replace("\\_", "_")
    assert "only in B" in text
