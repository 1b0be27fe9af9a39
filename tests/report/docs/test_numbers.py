import pytest

from spion_bench.report.docs import numbers
from spion_bench.report.docs.numbers import COMMAND, PAGES, ROOT, section, text_of

SECTIONS = [(page, name) for page, found in PAGES.items() for name in found]


@pytest.mark.parametrize(("page", "name"), SECTIONS)
def test_the_pages_hold_what_the_records_say(page, name):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert section(name).read(text) == text_of(page, name), f"renew it: {COMMAND}"


def test_numbers_that_rank_nothing_are_in_italics():
    text = text_of("docs/findings.md", "accuracy")
    assert "| `reformer` | *83.1" in text
    assert "Not shown to measure attention: no_attention" in text


def test_four_ratios_stand_together():
    text = text_of("docs/findings.md", "speed")
    assert text.count("as many blocks in a window") == 2
    assert "not measured" in text  # these records have no such cell


def test_growth_names_linear_and_quadratic_methods():
    text = text_of("docs/findings.md", "growth")
    assert "| `dense_sdpa` | 1.55 | 1.80 |" in text
    assert "| `reformer` |" in text


def test_a_page_without_the_markers_is_refused(tmp_path, monkeypatch):
    for page in PAGES:
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / page).write_text("nothing", encoding="utf-8")
    monkeypatch.setattr(numbers, "text_of", lambda page, name, root: "numbers")
    with pytest.raises(ValueError, match=r"\.md: expected the lines"):
        numbers.write_numbers(tmp_path)
