import pytest

from spion_bench.report.kernels.points import kernel_sweeps
from spion_bench.report.load import load_records
from tests.report.kernels.sweep_run import add_sweep_cell, case_named
from tests.report.run_writer import RunWriter, sampled


def test_a_sweep_is_ordered_by_its_factor(sweeps):
    assert [p.shape.length for p in sweeps.of("length")] == [2**n for n in range(10, 16)]
    densities = [p.shape.density for p in sweeps.of("density")]
    assert densities == sorted(densities)
    assert densities[-1] == 1
    threads = {point.threads: point.has_numbers for point in sweeps.of("threads")}
    assert threads == {1: True, 2: True, 4: False, 8: False}


def test_the_last_run_of_a_subject_counts(tmp_path):
    writer = RunWriter(tmp_path)
    case = case_named("sweep_heads1")
    for number, centre in enumerate((5.0, 9.0)):
        add_sweep_cell(
            writer,
            case,
            "block_attention",
            metrics={"forward_backward_ms": sampled(centre, "ms")},
            key=f"kernel-run{number}",
        )
    [sweeps] = kernel_sweeps(load_records(tmp_path))
    [point] = sweeps.points
    assert point.metric("block_attention", "forward_backward_ms").value == pytest.approx(9, rel=0.1)
