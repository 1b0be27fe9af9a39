import pytest

from spion_bench.report.tables import readme
from spion_bench.report.tables.readme import COMMAND, ROOT, SECTIONS, section, text_of


@pytest.mark.parametrize("name", SECTIONS)
def test_the_page_holds_what_the_records_say(name):
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert section(name).read(page) == text_of(name), f"renew it: {COMMAND}"


def test_numbers_that_rank_nothing_are_in_italics():
    text = text_of("accuracy")
    assert "| `reformer` | *83.1" in text
    assert "Not shown to measure attention: no_attention" in text


def test_four_ratios_stand_together():
    text = text_of("speed")
    assert text.count("as many blocks in a window") == 2
    assert "not measured" in text  # these records have no such cell


def test_a_page_without_the_markers_is_refused(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("nothing", encoding="utf-8")
    monkeypatch.setattr(readme, "text_of", lambda name, root: "numbers")
    with pytest.raises(ValueError, match=r"README\.md: expected the lines"):
        readme.write_numbers(tmp_path)
