import json
import re

import pytest

from spion_bench.report.docs import numbers
from spion_bench.report.docs.commits import MACHINE_FILE, SERIES, read_commits
from spion_bench.report.docs.front import THEMES, first_sentence
from spion_bench.report.docs.numbers import (
    COMMAND,
    COMMITS,
    PAGES,
    RECORDS,
    ROOT,
    pictures,
    section,
    text_of,
)
from spion_bench.report.groups import groups
from spion_bench.report.load import load_records
from tests.report.full_run import write_full_run
from tests.report.run_writer import IMAGE, LISTOPS

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
    assert "not measured" not in text
    assert text.count("marked: other processes") == 3 * 2 * 4  # settings, measures and ratios


def test_growth_names_linear_and_quadratic_methods():
    text = text_of("docs/findings.md", "growth")
    assert "| `dense_sdpa` | 1.55 | 1.80 |" in text
    assert "| `reformer` |" in text


def test_the_picture_of_the_front_is_what_the_records_give():
    for path, svg in pictures().items():
        assert (ROOT / path).read_text(encoding="utf-8") == svg, f"renew it: {COMMAND}"


def test_the_first_sentence_is_what_the_table_says():
    sentence, table = text_of("README.md", "first"), text_of("README.md", "front")
    for number in re.findall(r"[\d.]+\u00d7", sentence):
        assert f"| {number} [" in table
    assert ("free of marks" in sentence) == ("marked: see below" in table)
    assert table.count("Marked times speak for no claim. ") == 1
    lead = re.search(r"on listops, L = 64 \((.*points)", sentence.replace("\u00a0", " "))
    assert f"| {lead[1]} [" in text_of("README.md", "worth").replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ((LISTOPS, IMAGE), "a training step with SPION-CF is 1.39\u00d7 as fast"),
        ((IMAGE,), "On a CPU, no time of a training step is free of marks; "),
    ],
)
def test_marked_times_are_not_in_the_first_sentence(tmp_path, tasks, said):
    run = load_records(write_full_run(tmp_path, tasks=tasks, lengths=(128,), seeds=1))
    assert said in first_sentence(run)


def test_the_rivals_of_the_four_ratios_are_the_fastest_of_all():
    candidates = groups(load_records(ROOT / RECORDS / "amd-epyc-avx2-x2/candidates"), ("speed",))
    timed = [group for group in candidates if group.setting.task in ("retrieval", "listops")]
    assert len(timed) == 2
    for group in timed:
        found = {
            name: metric.value
            for name, cells in group.methods.items()
            if cells.info.role == "rival"
            and (metric := cells.metric("speed", "train_step_ms")) is not None
        }
        assert len(found) == 16
        assert sorted(found, key=found.get)[:2] == ["linformer", "sliding_window@matched"]


def test_what_the_pattern_is_worth_stands_beside_the_controls():
    text = text_of("README.md", "worth")
    assert "Controls on listops" in text
    assert "`no_attention` 32.1" in text
    assert "Measures attention" in text


def test_the_picture_shows_rivals_and_the_kernel_on_their_patterns():
    light, dark, _ = pictures().values()
    for name in ("spion_cf", "sliding_window@matched", "spion+window_block", "linformer"):
        assert light.count(f">{name}</text>") == 1
    assert "spion_f<" not in light
    assert THEMES["dark"] in dark
    assert "prefers-color-scheme" not in dark  # the page chooses


def test_the_picture_of_commits_shows_every_commit_that_asv_measured():
    *_, drawn = pictures().values()
    commits = read_commits(ROOT / COMMITS)
    assert len(commits) >= 8
    assert [commit.date for commit in commits] == sorted(commit.date for commit in commits)
    for commit in commits:
        assert drawn.count(f">{commit.name}</text>") == len({shape for shape, _ in commit.times})
        for seconds, low, high in commit.times.values():
            assert low <= seconds <= high


def test_a_commit_without_the_series_is_left_out(tmp_path):
    (file, *_) = sorted((ROOT / COMMITS).glob("*-*.json"))
    stored = json.loads(file.read_text(encoding="utf-8"))
    (tmp_path / file.name).write_text(json.dumps(stored), encoding="utf-8")
    assert len(read_commits(tmp_path)) == 1
    stored["results"].pop(SERIES)
    (tmp_path / file.name).write_text(json.dumps(stored), encoding="utf-8")
    (tmp_path / MACHINE_FILE).write_text("{}", encoding="utf-8")
    assert read_commits(tmp_path) == []


def test_a_page_without_the_markers_is_refused(tmp_path, monkeypatch):
    for page in PAGES:
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / page).write_text("nothing", encoding="utf-8")
    monkeypatch.setattr(numbers, "text_of", lambda page, name, root: "numbers")
    with pytest.raises(ValueError, match=r"\.md: expected the lines"):
        numbers.write_numbers(tmp_path)
