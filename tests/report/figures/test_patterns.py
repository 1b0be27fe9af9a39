import numpy as np
import pytest

from spion_bench.report.figures.patterns import pattern_figures
from spion_bench.report.load import load_records
from tests.report.reading import plain, titled
from tests.report.run_writer import IMAGE, RunWriter
from tests.report.sample_run import curve_arrays, layer_arrays


@pytest.fixture(scope="module")
def figures(sample):
    return pattern_figures(sample)


def test_every_spion_run_has_a_figure_and_the_first_is_open(figures):
    assert [(plain(figure.title), figure.collapsed) for figure in figures] == [
        ("image, L = 256, spion_cf, seed 0", False),
        ("image, L = 256, spion_cf, seed 1", True),
        ("image, L = 256, spion_cf, seed 2", True),
        ("listops, L = 128, spion_cf, seed 0, not SPION", False),
    ]


def test_words_count_the_blocks_and_name_the_scale(figures):
    figure = titled(figures, "image, L = 256, spion_cf, seed 0")
    assert "layer 2: 58 of 1024 blocks (5.7 %)" in plain(figure.alt)
    assert "Faint blocks (22) are kept only because the diagonal is always kept." in figure.caption
    assert "viridis, logarithmic, from the 5th to the 99.9th percentile" in figure.caption
    assert "Taken at the transition, step 160 (forced)." in figure.caption
    assert figure.provenance.endswith("artifact accuracy-image256-spion_cf-s0-0a1b2c3d.npz.")


def test_each_kept_block_is_drawn(figures):
    # Two layers of 58 blocks in the method's colour; matplotlib repeats no other square with it.
    svg = titled(figures, "image, L = 256, spion_cf, seed 0").svg
    assert svg.count("fill: #d55e00") == 2 * 58


@pytest.mark.parametrize("level", [0.0, 1.0, np.nan])
def test_flat_or_broken_maps_are_still_drawn(tmp_path, level):
    mask = np.eye(16, dtype=bool)
    rng = np.random.default_rng(0)
    arrays = curve_arrays(rng, 0.5, 10) | layer_arrays([mask], rng)
    arrays["layer0_map"] = np.full_like(arrays["layer0_map"], level)
    arrays["layer0_pooled"] = np.full_like(arrays["layer0_pooled"], level)
    writer = RunWriter(tmp_path)
    task = IMAGE.model_copy(update={"length": 128})
    writer.add("accuracy", "spion_c", task=task, artifacts=writer.add_artifact("a.npz", arrays))
    [figure] = pattern_figures(load_records(tmp_path))
    assert "16 of 256 blocks" in figure.alt
