from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spion_bench.cli import main
from spion_bench.gpu_model.devices import H100, HALF
from spion_bench.gpu_model.tables import (
    SECTION,
    Key,
    model_rows,
    model_text,
)

BEGIN, END = SECTION.begin, SECTION.end
PAGE = Path(__file__).resolve().parents[2] / "docs" / "gpu_model.md"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["model", *map(str, arguments)])


def test_rows_are_keyed_by_device_task_method_and_pass():
    rows = model_rows(HALF)
    assert len(rows) == 2 * 5 * 3 * 2
    one_device = model_rows(HALF, [H100])
    assert {key.device for key in one_device} == {"H100"}
    key = Key("H100", "listops", "block_attention", "backward")
    assert rows[key] == one_device[key]
    assert rows[key].expected_s > rows[key].floor_s > 0


def test_the_page_holds_what_the_model_says():
    page = PAGE.read_text(encoding="utf-8")
    assert SECTION.read(page) == model_text(), (
        "renew it: spion-bench model --write docs/gpu_model.md"
    )


def test_every_table_of_times_says_that_nothing_was_measured():
    titles = [line for line in model_text().splitlines() if line.startswith("###")]
    times = [title for title in titles if "µs" in title]
    assert len(times) == 7
    assert all("(modelled, not measured)" in title for title in times)


def test_the_command_prints_what_was_asked_for():
    result = invoke("--device", "H100", "--precision", "tf32")
    assert result.exit_code == 0
    assert "H100, float32 as TF32" in result.output
    assert "### A100" not in result.output
    assert "3xTF32" not in result.output


def test_the_command_renews_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    assert invoke("--write", page).exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text.splitlines()
    assert model_text() in text


@pytest.mark.parametrize(
    "text", ["no markers", f"{BEGIN}", f"{END} {BEGIN}", f"{BEGIN}{BEGIN}{END}"]
)
def test_a_page_without_its_markers_is_left_alone(text, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="once each, in order"):
        SECTION.write(page, "new")
    assert page.read_text(encoding="utf-8") == text
    assert invoke("--write", page).exit_code == 1


def test_a_page_is_written_whole_or_not_at_all():
    result = invoke("--write", PAGE, "--device", "A100")
    assert result.exit_code == 2
    assert "a page holds all" in " ".join(result.output.split())
