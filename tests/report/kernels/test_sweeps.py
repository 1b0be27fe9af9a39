from spion_bench.report.kernels.sweeps import sweep_tables
from tests.report.reading import rows_of, titled


def test_left_out_subjects_keep_their_row_and_reason(sweeps):
    rows = rows_of(titled(sweep_tables(sweeps, "kernels"), "Length"), "factor", "implementation")
    entry = rows[16384, "dense_sdpa"]["forward_backward_ms"]
    assert entry.value is None
    assert entry.note.startswith("unsupported: one call would be 1.92 TFLOP")
    assert rows[4096, "flex_forward"]["forward_backward_ms"].flag == "absent"
    assert rows[4096, "flex_forward"]["speedup"].note == "forward only"
    assert rows[4096, "sliding_window"]["density_ratio"].text == "window 82"
