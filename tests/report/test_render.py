import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from spion_bench import __version__
from spion_bench.report import render_report
from spion_bench.report.render import escape_markdown
from tests.report.run_writer import IMAGE, RunWriter, gate_errors, method_info, metric
from tests.report.sample_run import add_kernels, add_training

GOLDEN = Path(__file__).parent / "golden" / "report.md"
VOID = {"meta", "link", "br", "img", "hr", "input", "path", "use", "image"}


class Page(HTMLParser):
    """Collects what a test wants to know about a page, and checks that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.ids, self.open, self.text = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append((tag, values))
        self.ids += [values["id"]] if "id" in values else []
        for name in ("src", "href", "xlink:href", "data", "srcset", "poster"):
            self.links += [(tag, values[name])] if name in values else []

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def html(report):
    return (report / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_sections_come_in_reading_order(page):
    sections = [values["id"] for tag, values in page.tags if tag == "section"]
    assert sections == [
        *("claims", "accuracy", "summary", "patterns", "blocks", "curves", "training", "kernels"),
        *("published", "gate", "statuses"),
        *("data", "deviations", "methods", "environment", "reproduce", "every-record"),
    ]


def test_ids_are_unique_and_every_link_has_a_target(page, report):
    assert len(page.ids) == len(set(page.ids))
    for tag, link in page.links:
        if link.startswith("#"):
            is_packed = tag == "a" and link.startswith("#cell-")  # browser tests follow these
            assert link[1:] in page.ids or is_packed
        elif tag == "a":
            assert (report / link).is_file()


def test_the_page_loads_nothing(page, html):
    loaded = [link for tag, link in page.links if tag != "a" and not link.startswith("#")]
    own = ("data:image/png;base64,", "figures/")  # heavy figures are shown from their files
    assert all(link.startswith(own) for link in loaded)
    assert not any(tag in {"link", "iframe"} for tag, _ in page.tags)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    assert not any("src" in values for tag, values in page.tags if tag == "script")


def test_figures_and_tables_are_described(page):
    drawings = [values for _, values in page.tags if values.get("class") == "drawing"]
    assert len(drawings) == 10
    told = [values.get("alt") or values["aria-label"] for values in drawings]
    assert all(len(text) > 30 for text in told)
    assert all("alt" in values or values["role"] == "img" for values in drawings)
    tables = [values for tag, values in page.tags if tag == "table"]
    assert all(values["aria-labelledby"] in page.ids for values in tables)
    assert all(values["aria-describedby"] in page.ids for values in tables)


def test_every_number_of_the_records_is_on_the_page(sample, report):
    numbers = pd.read_csv(report / "tables" / "numbers.csv", skiprows=1)
    stored = [
        metric.value for outcome in sample.outcomes for metric in outcome.measured.metrics.values()
    ]
    assert numbers["value"].tolist() == pytest.approx(stored, rel=1e-12)


def test_every_status_and_reason_is_on_the_page(sample, page):
    text = " ".join(page.text)
    for outcome in sample.outcomes:
        if outcome.measured.status != "ok":
            assert outcome.record.key in text
            assert outcome.measured.reason in text
    assert "records.jsonl:39: not a record" in text
    assert "Energy was not measured: this run has no energy cell." in text
    assert "not SPION" in text


def test_text_from_records_is_escaped(html):
    assert "cannot run on &lt;cuda&gt; | here" in html
    assert "<cuda>" not in html


def test_hostile_text_stays_text(tmp_path):
    hostile = "</script><script>alert(1)</script>--><img src=x onerror=alert(1)>"
    writer = RunWriter(tmp_path / "a--b")
    writer.add("speed", method_info(hostile), status="crash", reason=hostile)
    paths = render_report(tmp_path / "a--b", tmp_path / "report")
    tags = [tag for tag, _ in Page(paths.html.read_text()).tags]
    assert tags.count("script") == 3
    assert "img" not in tags
    assert "<script" not in paths.markdown.read_text()


def test_first_line_says_by_what_and_from_which_records(report):
    expected = (
        f"Generated by spion_bench {__version__} (spion-bench report) from 38 records in smoke "
        "(records.jsonl: 38); do not edit"
    )
    files = [path for path in report.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".html", ".md", ".svg", ".csv"}
    for path in files:
        with path.open(encoding="utf-8") as file:
            assert file.readline().strip("<!-# >\n") == expected, path.name


def test_figure_files_are_svg(report):
    for path in (report / "figures").iterdir():
        assert ET.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_markdown_tables_are_whole_and_figures_exist(report):
    lines = (report / "report.md").read_text(encoding="utf-8").splitlines()
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in lines]
    for before, after, line in zip(widths, widths[1:], lines[1:], strict=False):
        assert not (before and after) or before == after, line
    for target in re.findall(r"\]\(([^)]*)\)", "\n".join(lines)):
        assert (report / target).is_file(), target


def write_golden_run(folder):
    """A small run without randomness: its report must not change unless it is meant to."""
    writer = RunWriter(folder)
    add_training(writer, IMAGE.model_copy(update={"length": 128}), "dense_sdpa", 0, accuracy=0.9)
    add_training(
        writer,
        IMAGE.model_copy(update={"length": 128}),
        "spion_cf",
        0,
        accuracy=0.88,
        transition=120,
    )
    for method, times in (("dense_sdpa", [210.0, 212.0, 214.0]), ("spion_cf", [111.0, 112.0])):
        low, high = min(times), max(times)
        step = metric(sum(times) / len(times), "ms", samples=times, low=low, high=high)
        writer.add("gate", method, gate=gate_errors(out=(2e-7, 4e-6)))
        writer.add("speed", method, metrics={"train_step_ms": step})
    writer.add("memory", "spion_cf", status="oom", reason="asked for 4.3 GB of 2 GB")


def test_how_to_reproduce_pins_the_commit_and_writes_to_a_folder_of_ones_own(tmp_path):
    committed = tmp_path / "results" / "records" / "some-machine" / "smoke"
    write_golden_run(committed)
    text = render_report(committed, tmp_path / "out").markdown.read_text("utf-8")
    commands = text[text.index("# How to reproduce") :].split("```")[1].split("\n")
    assert commands[1] == "git checkout 0123456789abcdef0123456789abcdef01234567"
    assert commands[2].startswith("spion-bench run --profile smoke ")
    assert commands[2].endswith(" --out results/local/smoke")
    assert commands[3] == "spion-bench report results/local/smoke"
    assert "some-machine" not in "".join(commands)


def test_markdown_golden_file(tmp_path):
    write_golden_run(tmp_path / "golden")
    text = render_report(tmp_path / "golden", tmp_path / "out").markdown.read_text("utf-8")
    text = text.replace(f"spion_bench {__version__} ", "spion_bench VERSION ")
    written = tmp_path / "report.md"
    written.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text("utf-8"), f"if the change is meant: cp {written} {GOLDEN}"


def test_the_same_records_give_the_same_bytes(tmp_path):
    write_golden_run(tmp_path / "run")
    contents = []
    for name in ("one", "two"):
        render_report(tmp_path / "run", tmp_path / name)
        paths = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append([(p.relative_to(tmp_path / name), p.read_bytes()) for p in paths])
    assert contents[0] == contents[1]


def test_old_parts_are_replaced_and_foreign_files_kept(tmp_path):
    out = tmp_path / "out"
    write_golden_run(tmp_path / "one")
    render_report(tmp_path / "one", out)
    (out / "figures" / "mine.svg").write_text("<svg/>")
    writer = RunWriter(tmp_path / "two")
    add_kernels(writer)
    render_report(tmp_path / "two", out)
    assert [path.name for path in (out / "figures").iterdir()] == ["mine.svg"]
    assert not list((out / "tables").glob("summary*"))
    text = (out / "index.html").read_text("utf-8")
    assert "Training was not measured: this run has no accuracy cell." in text
    assert "this run has no gate cell" not in text  # kernels gate themselves


def test_empty_folder_gives_a_clear_error_and_writes_nothing(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match="expected at least one record"):
        render_report(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_markdown_escapes():
    assert escape_markdown("a|b *c* <d>\n[e]") == "a\\|b \\*c\\* &lt;d> \\[e\\]"


def test_reports_need_no_torch():
    code = "import sys, spion_bench.report; assert 'torch' not in sys.modules; print('fine')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "fine"
