from spion_bench.report.kernels.points import kernel_sweeps
from spion_bench.report.kernels.scaling import scaling_figures
from spion_bench.report.load import load_records
from tests.report.kernels.sweep_run import add_sweep_cell, case_named
from tests.report.run_writer import RunWriter


def test_every_factor_has_a_figure_and_every_figure_its_numbers(sweeps):
    figures = scaling_figures(sweeps, "kernels")
    assert len(figures) == 6
    times = figures[0]
    assert "block_attention 1k: " in times.alt
    assert "32k: " in times.alt
    assert len({figure.key for figure in figures}) == 6


def test_a_run_of_one_case_has_only_the_figures_it_can_fill(tmp_path):
    writer = RunWriter(tmp_path)
    for implementation in ("block_attention", "dense_sdpa"):
        add_sweep_cell(writer, case_named("sweep_density8"), implementation)
    [sweeps] = kernel_sweeps(load_records(tmp_path))
    [figure] = scaling_figures(sweeps, "kernels")
    assert figure.title.startswith("Speed-up over dense SDPA")
