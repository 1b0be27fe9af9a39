"""A method that the report has never heard of appears wherever a known rival does, and coloured."""

import pytest

from spion_bench.report.kernels.page import build_kernel_page
from spion_bench.report.kernels.points import kernel_sweeps
from spion_bench.report.load import load_records
from spion_bench.report.page import build_page
from spion_bench.report.parts import Figure, Table
from spion_bench.report.style import GREY
from tests.report.kernels.sweep_run import SWEEP_CASES, write_sweep_run
from tests.report.run_writer import IMAGE, RunWriter, gate_errors, metric, sampled
from tests.report.sample_run import add_training

KNOWN, NEW = "longformer", "zz_flexible@window_matched"
TIMES_MS = {"dense_sdpa": 100.0, "spion_cf": 50.0, KNOWN: 70.0, NEW: 60.0}
SWEPT = [case for case in SWEEP_CASES if case.has_pattern and case.dtype == "float32"]


def write_run(writer):
    for length in (1024, 2048, 4096):
        task = IMAGE.model_copy(update={"length": length})
        for method, ms in TIMES_MS.items():
            times = {
                "train_step_ms": sampled(ms * length / 1024, "ms"),
                "attention_ms": sampled(0.5 * ms * length / 1024, "ms"),
                "attention_flops_per_step": metric(ms * 1e9, "FLOP", modelled=True),
            }
            peak = {"train_step_peak_bytes": sampled(1e5 * length, "bytes")}
            writer.add("gate", method, task=task, gate=gate_errors(out=(1e-7, 1e-5)))
            writer.add("steps", method, task=task, gate=gate_errors(out=(1e-7, 1e-5)))
            writer.add("speed", method, task=task, metrics=times, deviations=["a deviation"])
            writer.add("memory", method, task=task, metrics=peak)
    for method in TIMES_MS:
        transition = 100 if method == "spion_cf" else None
        task = IMAGE.model_copy(update={"length": 256})
        add_training(writer, task, method, 0, accuracy=0.9, transition=transition)
        add_training(writer, task, method, 1, accuracy=0.92, transition=transition)
        writer.add("energy", method, status="skipped", reason="no GPU")
        times = {"forward_ms": sampled(3.0, "ms"), "forward_backward_ms": sampled(9.0, "ms")}
        writer.add_kernel(method, case="attention_256", metrics=times)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new") / "run"
    write_run(RunWriter(folder))
    return load_records(folder)


@pytest.fixture(scope="module")
def blocks(run):
    return blocks_of(build_page(run))


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept") / "run"
    write_sweep_run(folder, SWEPT, more=(KNOWN, NEW))
    return load_records(folder)


def blocks_of(page):
    return [block for section in page.sections for block in section.blocks]


def texts_of(block):
    if isinstance(block, Figure):
        return block.alt + block.title
    return "\n".join(f"{entry.value}; {entry.text}" for row in block.rows for entry in row)


def check_everywhere(blocks, fewest_tables, fewest_figures):
    with_known = [block for block in blocks if KNOWN in texts_of(block)]
    assert sum(isinstance(block, Table) for block in with_known) >= fewest_tables
    assert sum(isinstance(block, Figure) for block in with_known) >= fewest_figures
    for block in with_known:
        assert NEW in texts_of(block), block.title


def test_it_is_in_every_table_and_figure(blocks):
    check_everywhere(blocks, fewest_tables=20, fewest_figures=5)
    keys = {block.key for block in blocks if NEW in texts_of(block)}
    assert {"gate", "matrix", "methods", "numbers", "failures", "deviations"} <= keys
    assert {"rivals-image-l-1024", "growth-image", "lengths-image", "curves-image-l-256"} <= keys


def test_it_is_in_every_table_and_figure_of_the_kernel_page(swept):
    blocks = blocks_of(build_kernel_page(swept, "stamp"))
    check_everywhere(blocks, fewest_tables=9, fewest_figures=7)


def test_it_is_coloured_in_every_figure(run, swept, blocks):
    kernel_blocks = blocks_of(build_kernel_page(swept, "stamp"))
    [sweeps] = kernel_sweeps(swept)
    n_figures = 0
    for found, looks in ((blocks, run.looks), (kernel_blocks, sweeps.looks)):
        new = looks[NEW]
        assert new not in [look for name, look in looks.items() if name != NEW]
        for block in found:
            if isinstance(block, Figure) and NEW in texts_of(block):
                # A front panel of a group that does not measure attention is grey.
                is_grey = block.key.startswith("front") and GREY in block.svg
                assert is_grey or new.colour in block.svg, block.title
                n_figures += 1
    assert n_figures >= 12


def test_it_may_be_the_fastest_rival(blocks):
    table = next(block for block in blocks if block.key == "rivals-image-l-1024")
    assert table.notes[0].startswith(f"Fastest rival, training step: {NEW}; spion_cf is ")
