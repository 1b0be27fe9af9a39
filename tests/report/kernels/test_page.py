import re

import pytest

from spion_bench.report import render_report
from spion_bench.report.kernels.cases import kernel_cases
from spion_bench.report.kernels.goals import GOALS, goal_table
from spion_bench.report.kernels.page import build_kernel_page
from spion_bench.report.kernels.points import kernel_sweeps
from spion_bench.report.kernels.roofline import intensity, roofline_figure, scores_per_row
from spion_bench.report.kernels.scaling import scaling_figures
from spion_bench.report.kernels.sweeps import sweep_tables
from spion_bench.report.load import load_records
from spion_bench.suite.cases.sweeps import SWEEP_CASES
from tests.report.kernels.sweep_run import add_sweep_cell, write_sweep_run
from tests.report.reading import plain, rows_of, titled
from tests.report.run_writer import RunWriter, sampled
from tests.report.sample_run import add_kernels
from tests.report.test_render import Page

CASES = {case.name: case for case in SWEEP_CASES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps") / "kernels"
    write_sweep_run(folder)
    return folder


@pytest.fixture(scope="module")
def run(folder):
    return load_records(folder)


@pytest.fixture(scope="module")
def sweeps(run):
    [found] = kernel_sweeps(run)
    return found


@pytest.fixture(scope="module")
def goals(sweeps):
    return rows_of(goal_table(sweeps, "goals"))


def value_of(sweeps, label, subject, metric):
    point = next(point for point in sweeps.points if point.label == label)
    return point.metric(subject, metric).value


def test_a_sweep_is_ordered_by_its_factor(sweeps):
    assert [p.shape["L"] for p in sweeps.of("length")] == [2**n for n in range(10, 16)]
    densities = [p.density for p in sweeps.of("density")]
    assert densities == sorted(densities)
    assert densities[-1] == 1
    threads = {point.threads: point.has_numbers for point in sweeps.of("threads")}
    assert threads == {1: True, 2: True, 4: False, 8: False}


def test_share_of_sgemm_is_a_ratio_of_rates_within_one_case(sweeps, goals):
    label = "sweep_band_D32_b64"
    own = value_of(sweeps, label, "block_attention", "flops_rate_gflops")
    limit = value_of(sweeps, label, "sgemm", "flops_rate_gflops")
    entry = goals["Rate over SGEMM's rate, D = 32, block 64"]["value"]
    assert entry.value == pytest.approx(own / limit)
    assert entry.low < entry.value < entry.high
    assert (entry.flag, entry.note) == ("good", "reached")


def test_speedup_is_told_in_units_of_one_over_the_density(sweeps, goals):
    dense, own = (
        value_of(sweeps, "sweep_speedup_L4096", subject, "forward_backward_ms")
        for subject in ("dense_sdpa", "block_attention")
    )
    row = next(row for name, row in goals.items() if "times the density" in name)
    assert row["value"].value == pytest.approx(dense / own * 164 / 4096)


def test_time_per_block_compares_the_longest_with_the_shortest_band(sweeps, goals):
    long, short = (
        value_of(sweeps, f"sweep_band_L{length}", "block_attention", "forward_backward_ms")
        / CASES[f"sweep_band_L{length}"].n_blocks
        for length in (32768, 1024)
    )
    entry = goals["Time per kept block, longest band over shortest"]["value"]
    assert entry.value == pytest.approx(long / short)


def test_workspace_is_told_per_thread_in_values_of_the_inputs(goals):
    rows = [row for name, row in goals.items() if name.startswith("Fused workspace")]
    assert [row["value"].value for row in rows] == [8.0, 8.0, 8.0]  # 8 heads x 2 values, 2 threads


def test_every_goal_names_its_records(goals):
    assert len(goals) == len(GOALS)
    for row in goals.values():
        assert row["records"].text.startswith("sweep_")


def test_a_goal_without_numbers_says_why(tmp_path):
    writer = RunWriter(tmp_path)
    case = CASES["sweep_bfloat16"]
    add_sweep_cell(
        writer, case, "block_attention", status="unsupported", reason="no bfloat16", metrics={}
    )
    add_sweep_cell(writer, case, "block_attention_float32")
    [sweeps] = kernel_sweeps(load_records(tmp_path))
    rows = rows_of(goal_table(sweeps, "goals"))
    entry = rows["Time with bfloat16 inputs over float32"]["value"]
    assert entry.value is None
    assert entry.note == "block_attention: unsupported: no bfloat16"
    entry = rows["Rate over SGEMM's rate, D = 64, block 64"]["value"]
    assert (entry.flag, entry.note) == ("missing", "no record of it in this run")


@pytest.mark.parametrize(("value", "met"), [(0.64, False), (0.66, True)])
def test_a_limit_separates_reached_from_not_reached(value, met):
    assert GOALS[0].is_met(value) is met
    assert GOALS[6].is_met(value) is None  # only reported
    assert GOALS[-1].is_met(value + 0.35) is (value + 0.35 <= 1)


def test_intensity_counts_every_tensor_once_per_pass(sweeps):
    point = next(point for point in sweeps.points if point.label == "sweep_band_D64_b64")
    per_row = scores_per_row(point, "block_attention")
    assert per_row == pytest.approx(3 * 64 * (1 - 2 / 3 / 64))
    shape = {"L": 4096, "D": 64}
    flops = 14 * shape["D"] * shape["L"] * per_row
    moved = 12 * 4 * shape["L"] * shape["D"]
    assert intensity(per_row) == pytest.approx(flops / moved)


def test_roofline_tells_its_limits_in_words(sweeps):
    figure = roofline_figure(sweeps, "roofline")
    assert "SGEMM 2" in figure.alt
    assert "memory copy 2" in figure.alt
    assert "D\u00a0=\u00a032, block\u00a032 block_attention" in figure.alt
    assert "<svg" in figure.svg


def test_every_factor_has_a_figure_and_every_figure_its_numbers(sweeps):
    figures = scaling_figures(sweeps, "kernels")
    assert len(figures) == 6
    times = figures[0]
    assert "block_attention 1k: " in times.alt
    assert "32k: " in times.alt
    assert len({figure.key for figure in figures}) == 6


def test_a_run_of_one_case_has_only_the_figures_it_can_fill(tmp_path):
    writer = RunWriter(tmp_path)
    for subject in ("block_attention", "dense_sdpa"):
        add_sweep_cell(writer, CASES["sweep_density8"], subject)
    [sweeps] = kernel_sweeps(load_records(tmp_path))
    [figure] = scaling_figures(sweeps, "kernels")
    assert figure.title.startswith("Speed-up over dense SDPA")


def test_left_out_subjects_keep_their_row_and_reason(sweeps):
    rows = rows_of(titled(sweep_tables(sweeps, "kernels"), "Length"), "factor", "subject")
    entry = rows[16384, "dense_sdpa"]["forward_backward_ms"]
    assert entry.value is None
    assert entry.note.startswith("unsupported: one call would be 1.92 TFLOP")
    assert rows[4096, "flex_forward"]["forward_backward_ms"].flag == "absent"
    assert rows[4096, "flex_forward"]["speedup"].note == "forward only"
    assert rows[4096, "sliding_window"]["density_ratio"].text == "window 82"


def test_the_last_run_of_a_subject_counts(tmp_path):
    writer = RunWriter(tmp_path)
    case = CASES["sweep_heads1"]
    for number, centre in enumerate((5.0, 9.0)):
        add_sweep_cell(
            writer,
            case,
            "block_attention",
            metrics={"forward_backward_ms": sampled(centre, "ms")},
            cell_key=f"kernel-run{number}",
        )
    [sweeps] = kernel_sweeps(load_records(tmp_path))
    [point] = sweeps.points
    assert point.metric("block_attention", "forward_backward_ms").value == pytest.approx(9, rel=0.1)


def test_sweeps_stay_out_of_the_case_tables(run, tmp_path):
    assert kernel_cases(run) == []
    writer = RunWriter(tmp_path)
    add_kernels(writer)
    add_sweep_cell(writer, CASES["sweep_heads1"], "block_attention")
    mixed = load_records(tmp_path)
    names = [case.name.partition(" ")[0] for case in kernel_cases(mixed)]
    assert names == ["attention_4096", "pattern_4096"]
    assert build_kernel_page(mixed, "stamp") is not None


def test_the_page_is_linked_and_sound(folder, tmp_path):
    out = render_report(folder, tmp_path).html.parent
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


def test_a_report_without_sweeps_removes_the_old_page(folder, tmp_path):
    out = render_report(folder, tmp_path / "out").html.parent
    writer = RunWriter(tmp_path / "other")
    add_kernels(writer)
    render_report(tmp_path / "other", out)
    assert not list(out.glob("kernels.*"))
