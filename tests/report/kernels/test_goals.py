from pathlib import Path

import pytest

from spion_bench.report.kernels.goals import GOALS, goal_table
from spion_bench.report.kernels.points import kernel_sweeps
from spion_bench.report.load import load_records
from tests.report.kernels.sweep_run import add_sweep_cell, case_named
from tests.report.reading import rows_of
from tests.report.run_writer import RunWriter

COMMITTED = Path(__file__).resolve().parents[3] / "results/records/amd-epyc-avx2-x2/kernels"


@pytest.fixture(scope="module")
def goals(sweeps):
    return rows_of(goal_table(sweeps, "goals"))


def value_of(sweeps, label, implementation, metric):
    point = next(point for point in sweeps.points if point.cell.case == label)
    return point.metric(implementation, metric).value


def test_share_of_sgemm_is_a_ratio_of_rates_within_one_case(sweeps, goals):
    label = "sweep_band_D32_b64"
    own = value_of(sweeps, label, "block_attention", "flops_rate_gflops")
    limit = value_of(sweeps, label, "sgemm", "flops_rate_gflops")
    entry = goals["Rate over SGEMM's rate, D = 32, block 64"]["value"]
    assert entry.value == pytest.approx(own / limit)
    assert entry.low < entry.value < entry.high
    assert (entry.flag, entry.note) == ("good", "reached")


def test_speedup_is_reported_in_units_of_one_over_the_density(sweeps, goals):
    dense, own = (
        value_of(sweeps, "sweep_speedup_L4096", implementation, "forward_backward_ms")
        for implementation in ("dense_sdpa", "block_attention")
    )
    row = next(row for name, row in goals.items() if "times the density" in name)
    assert row["value"].value == pytest.approx(dense / own * 164 / 4096)


def test_time_per_block_compares_the_longest_with_the_shortest_band(sweeps, goals):
    long, short = (
        value_of(sweeps, f"sweep_band_L{length}", "block_attention", "forward_backward_ms")
        / case_named(f"sweep_band_L{length}").n_blocks
        for length in (32768, 1024)
    )
    entry = goals["Time per kept block, longest band over shortest"]["value"]
    assert entry.value == pytest.approx(long / short)


def test_workspace_is_reported_per_thread_in_values_of_the_inputs(goals):
    rows = [row for name, row in goals.items() if name.startswith("Fused workspace")]
    assert [row["value"].value for row in rows] == [8.0, 8.0, 8.0]  # 8 heads x 2 values, 2 threads


def test_every_goal_names_its_records(goals):
    assert len(goals) == len(GOALS)
    for row in goals.values():
        assert row["records"].text.startswith("sweep_")


def test_a_goal_without_numbers_says_why(tmp_path):
    writer = RunWriter(tmp_path)
    case = case_named("sweep_bfloat16")
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
    assert (entry.flag, entry.note) == ("missing", "no record in this run")


@pytest.mark.parametrize(("value", "met"), [(0.64, False), (0.66, True)])
def test_a_limit_separates_reached_from_not_reached(value, met):
    assert GOALS[0].is_met(value) is met
    assert GOALS[6].is_met(value) is None  # only reported
    assert GOALS[-1].is_met(value + 0.35) is (value + 0.35 <= 1)


def test_the_committed_records_of_schema_1_have_a_number_for_every_goal():
    [sweeps] = kernel_sweeps(load_records(COMMITTED))
    rows = rows_of(goal_table(sweeps, "goals"))
    assert {name for name, row in rows.items() if row["value"].value is None} == set()
