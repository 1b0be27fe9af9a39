import pytest

from spion_bench.report.kernels.roofline import intensity, roofline_figure, scores_per_row


def test_intensity_counts_every_tensor_once_per_pass(sweeps):
    point = next(point for point in sweeps.points if point.cell.case == "sweep_band_D64_b64")
    per_row = scores_per_row(point, "block_attention")
    assert per_row == pytest.approx(3 * 64 * (1 - 2 / 3 / 64))
    shape = {"L": 4096, "D": 64}
    flops = 14 * shape["D"] * shape["L"] * per_row
    moved = 12 * 4 * shape["L"] * shape["D"]
    assert intensity(per_row) == pytest.approx(flops / moved)


def test_roofline_says_its_limits_in_words(sweeps):
    figure = roofline_figure(sweeps, "roofline")
    assert "SGEMM 2" in figure.alt
    assert "memory copy 2" in figure.alt
    assert "D\u00a0=\u00a032, block\u00a032 block_attention" in figure.alt
    assert "<svg" in figure.svg
