import pytest

from spion_bench.report.kernels.cases import kernel_tables
from spion_bench.report.load import load_records
from tests.report.reading import plain, rows_of, titled
from tests.report.run_writer import RunWriter, sampled


@pytest.fixture
def attention(sample):
    return titled(kernel_tables(sample), "attention_4096")


def kernel_metrics(sample, method):
    return next(o.measured.metrics for o in sample.ok("kernel") if o.method.name == method)


def test_attention_speedups_are_ratios_of_medians(sample, attention):
    rows = rows_of(attention)
    for name in ("forward", "forward_backward"):
        base = kernel_metrics(sample, "dense_sdpa")[f"{name}_ms"].value
        own = kernel_metrics(sample, "block_attention")[f"{name}_ms"].value
        entry = rows["block_attention"][f"{name}_speedup"]
        assert entry.value == base / own
        assert entry.low < entry.value < entry.high


def test_density_limit_is_modelled(attention):
    row = rows_of(attention)["block_attention"]
    assert row["density_limit"].value == pytest.approx(1 / row["density_ratio"].value)
    assert (row["density_limit"].flag, row["density_limit"].note) == ("modelled", "modelled")
    assert row["density_ratio"].note == "117 of 4096 blocks; synthetic band+stripes"


def test_caption_states_the_shape(attention):
    assert "B = 1, H = 2, L = 4096, D = 32, block_size = 64" in attention.caption


def test_pattern_generation_is_compared_with_the_python_walk(sample):
    rows = rows_of(titled(kernel_tables(sample), "pattern_4096"))
    base = kernel_metrics(sample, "python_walk")["walk_ms"].value
    own = kernel_metrics(sample, "flood_fill")["walk_ms"].value
    assert rows["flood_fill"]["walk_speedup"].value == base / own
    assert rows["python_walk"]["walk_speedup"].text == "baseline"
    assert rows["generate_pattern"]["walk_ms"].flag == "absent"
    assert plain(rows["generate_pattern"]["generate_pattern_ms"].text).endswith(" ms")


def test_failed_subjects_keep_their_row_and_reason(tmp_path):
    writer = RunWriter(tmp_path)
    times = {"forward_ms": sampled(1.0, "ms"), "forward_backward_ms": sampled(3.0, "ms")}
    writer.add_kernel("dense_sdpa", status="crash", reason="signal 4")
    writer.add_kernel("block_attention", metrics=times)
    [table] = kernel_tables(load_records(tmp_path))
    rows = rows_of(table)
    assert rows["dense_sdpa"]["forward_ms"].note == "crash: signal 4"
    entry = rows["block_attention"]["forward_speedup"]
    assert (entry.value, entry.note) == (None, "no number of dense_sdpa in this run")
