import pytest

from spion_bench.records import GpuReadings
from spion_bench.report import render_report
from spion_bench.report.kernels.cases import kernel_cases
from spion_bench.report.kernels.gpu import gpu_headlines, gpu_lede, gpu_section
from spion_bench.report.kernels.page import build_kernel_page
from spion_bench.report.kernels.points import gpu_sweeps, kernel_sweeps
from spion_bench.report.load import load_records
from spion_bench.suite.cases.peers import PEER_CASES
from spion_bench.suite.implementations import find_implementation
from spion_bench.suite.method import UNPROVEN
from tests.report.kernels.gpu_run import CASES, GPU, add_gpu_case, metrics_of
from tests.report.kernels.sweep_run import SWEEP_CASES, add_sweep_cell
from tests.report.reading import plain, rows_of
from tests.report.run_writer import RunWriter
from tests.report.test_render import Page

CASE = CASES["gpu_listops_16bit"]


@pytest.fixture
def show(tmp_path):
    """Write one case's records, changed for some implementations; return its sweep and its rows."""

    def show(**of_implementations):
        add_gpu_case(RunWriter(tmp_path), CASE, **of_implementations)
        [sweeps] = gpu_sweeps(load_records(tmp_path))
        [table] = gpu_section(sweeps).blocks
        return sweeps, rows_of(table, "implementation", "pass")

    return show


def test_measured_times_stand_next_to_modelled_ones_that_say_so(show):
    sweeps, rows = show()
    row = rows["block_attention", "forward"]
    metrics = sweeps.points[0].implementations["block_attention"].measured.metrics
    expected = metrics["forward_expected_ms"]
    assert row["cold_ms"].value == metrics["forward_ms"].value
    assert row["warm_ms"].value == metrics["forward_warm_ms"].value
    shown = row["expected_ms"]
    assert (shown.value, shown.low, shown.high) == (expected.value, expected.low, expected.high)
    for name in ("expected_ms", "floor_ms"):
        assert (row[name].flag, row[name].note) == ("modelled", "modelled, not measured")
    [table] = gpu_section(sweeps).blocks
    modelled = [c.label for c in table.columns if c.key in ("expected_ms", "floor_ms")]
    assert all("modelled, not measured" in label for label in modelled)
    assert rows["flex", "backward"]["expected_ms"].flag == "absent"
    assert len(rows) == 2 * 6


@pytest.mark.parametrize(
    ("times", "words", "flag"),
    [
        (0.3, "below the floor", "warning"),
        (1.1, "within the range", "good"),
        (3.0, "above the range", "warning"),
    ],
)
def test_a_time_that_refutes_the_model_is_flagged(show, times, words, flag):
    _, rows = show(block_attention={"times": times})
    entry = rows["block_attention", "backward"]["verdict"]
    assert (entry.text, entry.flag) == (words, flag)


def test_a_gpu_that_was_throttled_shows_in_its_row_and_in_the_opening(show):
    reasons = ["hw_thermal_slowdown", "sw_power_cap"]
    slowed = GPU.model_copy(update={"throttle_reasons": reasons, "throttled": 12})
    sweeps, rows = show(pipeline={"gpu": slowed})
    entry = rows["pipeline", "forward"]["clocks"]
    assert entry.flag == "warning"
    assert entry.text == "1395 (1380 to 1410)"
    assert entry.note == "throttled in 12 of 40 readings: hw_thermal_slowdown sw_power_cap"
    assert rows["flex", "forward"]["clocks"].flag == ""
    assert "throttled while 1 cell ran" in plain(gpu_lede(sweeps))


def test_clocks_that_could_not_be_read_are_missing_not_fine(show):
    sweeps, rows = show(flex={"gpu": GpuReadings(problem="nvidia-ml-py is not installed")})
    entry = rows["flex", "forward"]["clocks"]
    assert (entry.flag, entry.note) == ("missing", "nvidia-ml-py is not installed")
    sentence = "The clocks could not be read during 1 cell, so throttling there is unknown."
    assert sentence in plain(gpu_lede(sweeps))


def test_a_red_gate_and_an_unsupported_peer_have_reasons_and_no_times(show):
    red = {"status": "gate_failed", "reason": "dq is off by 0.1, the limit is 0.01"}
    sweeps, rows = show(flex=red)
    for implementation, reason in (
        ("flex", "gate_failed: dq is off by 0.1, the limit is 0.01"),
        ("dense_xformers", "unsupported: xformers is not installed"),
    ):
        for pass_ in ("forward", "backward"):
            row = rows[implementation, pass_]
            assert (row["cold_ms"].flag, row["cold_ms"].note) == ("missing", reason)
            assert row["warm_ms"].value is row["speedup"].value is None
    assert "4 of 6 cells gave numbers" in plain(gpu_lede(sweeps))


def test_a_call_that_waited_for_the_host_says_so(show):
    _, rows = show(csr_pipeline={"host_bound": ["backward_ms"]})
    assert rows["csr_pipeline", "forward"]["cold_ms"].flag == ""
    for name in ("cold_ms", "warm_ms"):
        entry = rows["csr_pipeline", "backward"][name]
        assert entry.flag == "warning"
        assert entry.note.endswith("includes waiting for the host")


def test_speedups_are_ratios_within_the_case(show):
    sweeps, rows = show()
    dense = rows["dense_sdpa", "forward"]["cold_ms"].value
    own = rows["block_attention", "forward"]["cold_ms"].value
    assert rows["block_attention", "forward"]["speedup"].value == pytest.approx(dense / own)
    assert rows["dense_sdpa", "forward"]["speedup"].flag == "absent"
    labels = [headline.label for headline in gpu_headlines(sweeps)]
    passes = ("forward", "backward")
    assert labels == [f"listops, {p}: block_attention against dense_sdpa" for p in passes]


def test_precisions_have_a_table_each_in_the_order_of_the_records(tmp_path):
    writer = RunWriter(tmp_path)
    for name in ("gpu_image_16bit", "gpu_image_3xtf32", "gpu_listops_16bit"):
        add_gpu_case(writer, CASES[name])
    [sweeps] = gpu_sweeps(load_records(tmp_path))
    tables = gpu_section(sweeps).blocks
    assert [table.title for table in tables] == ["float16 or bfloat16", "float32 as 3xTF32"]
    assert [note.partition(":")[0] for note in tables[0].notes] == ["image", "listops"]
    assert len({table.key for table in tables}) == 2


def test_sweeps_of_the_cpu_do_not_see_a_gpu(tmp_path):
    alone, mixed = RunWriter(tmp_path / "alone"), RunWriter(tmp_path / "mixed")
    cpu_case = next(case for case in SWEEP_CASES if case.name == "sweep_density8")
    for writer in (alone, mixed):
        for implementation in cpu_case.implementations:
            add_sweep_cell(writer, cpu_case, implementation)
    add_gpu_case(mixed, CASE)
    run = load_records(mixed.folder)
    [sweeps], [expected] = kernel_sweeps(run), kernel_sweeps(load_records(alone.folder))
    assert [p.cell.case for p in sweeps.points] == [p.cell.case for p in expected.points]
    assert kernel_cases(run) == []
    page = build_kernel_page(run, "stamp")
    assert page.title == "CPU and GPU kernels against their peers and limits"
    assert page.lede[0] == build_kernel_page(load_records(alone.folder), "stamp").lede[0]


def test_the_page_of_a_gpu_is_linked_and_sound(tmp_path):
    add_gpu_case(RunWriter(tmp_path / "run"), CASE)
    out = render_report(tmp_path / "run", tmp_path / "out").html.parent
    page = Page((out / "kernels.html").read_text("utf-8"))
    assert len(page.ids) == len(set(page.ids))
    for _, link in page.links:
        assert link[1:] in page.ids if link.startswith("#") else (out / link).is_file()
    text = plain("".join(page.text))
    assert "GPU kernels against their peers and limits" in text
    assert "NVIDIA A100-SXM4-80GB" in text
    markdown = (out / "kernels.md").read_text("utf-8")
    assert "modelled, not measured" in markdown


def test_beside_peers_nothing_is_a_headline_and_what_no_gpu_has_run_says_so(tmp_path):
    writer = RunWriter(tmp_path)
    add_gpu_case(writer, CASE)
    [case] = [case for case in PEER_CASES if case.name == "peers_L4096_block64"]
    peer = find_implementation("cudnn_bsa").info(case)
    asked = {"device": "cuda", "sweeps": list(case.sweeps), "measures": "passes"}
    metrics = metrics_of("block_attention", 1.0)
    for method in ("dense_sdpa", "block_attention", peer):
        writer.add_kernel(method, case=case.name, shape=case.shape, cell=asked, metrics=metrics)
    [sweeps] = gpu_sweeps(load_records(tmp_path))
    assert {headline.label.partition(",")[0] for headline in gpu_headlines(sweeps)} == {"listops"}
    _, table = gpu_section(sweeps).blocks
    assert table.title == "beside other projects' kernels"
    rows = rows_of(table, "implementation", "pass")
    assert rows["cudnn_bsa", "forward"]["implementation"].note == UNPROVEN
    assert rows["block_attention", "forward"]["implementation"].note == ""
    assert kernel_sweeps(load_records(tmp_path)) == []
