import re
import shutil

import pytest

from spion_bench.report import render_report
from spion_bench.report.kernels.cases import kernel_cases
from spion_bench.report.kernels.page import build_kernel_page
from spion_bench.report.load import load_records
from tests.report.kernels.sweep_run import add_sweep_cell, case_named
from tests.report.reading import plain
from tests.report.run_writer import RunWriter
from tests.report.sample_run import add_kernels
from tests.report.test_render import Page


def test_sweeps_stay_out_of_the_case_tables(run, tmp_path):
    assert kernel_cases(run) == []
    writer = RunWriter(tmp_path)
    add_kernels(writer)
    add_sweep_cell(writer, case_named("sweep_heads1"), "block_attention")
    mixed = load_records(tmp_path)
    names = [case.name.partition(" ")[0] for case in kernel_cases(mixed)]
    assert names == ["attention_4096", "pattern_4096"]
    assert build_kernel_page(mixed, "stamp") is not None


@pytest.fixture(scope="module")
def rendered(folder, tmp_path_factory):
    return render_report(folder, tmp_path_factory.mktemp("report")).html.parent


def test_the_page_is_linked_and_sound(rendered):
    out = rendered
    index, page = (Page((out / name).read_text("utf-8")) for name in ("index.html", "kernels.html"))
    assert ("a", "kernels.html") in index.links
    assert ("a", "index.html") in page.links
    assert len(page.ids) == len(set(page.ids))
    for tag, link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert tag == "a"
            assert (out / link).is_file()
    assert "Profile smoke ran 38 cases of kernel sweeps" in plain("".join(index.text))
    markdown = (out / "kernels.md").read_text("utf-8")
    assert not re.search(r"\]\((?!figures/|tables/|index\.md)", markdown.replace("index.md", ""))
    assert "[Kernel sweeps: goals, roofline and scaling](kernels.md)" in (
        out / "report.md"
    ).read_text("utf-8")


def test_a_report_without_sweeps_removes_the_old_page(rendered, tmp_path):
    out = shutil.copytree(rendered, tmp_path / "out")
    writer = RunWriter(tmp_path / "other")
    add_kernels(writer)
    render_report(tmp_path / "other", out)
    assert not list(out.glob("kernels.*"))
