"""The CUDA source of flood_fill on the emulator: the CPU kernels' choice, and golden values."""

import json
import math

import pytest
import torch

from spion_bench.ops.flood_fill import flood_fill
from tests.emulation.pattern_cases import DTYPES, SELECTIONS, STRIDED, assert_same_bits, random
from tests.ops.cases import GOLDEN, golden

FLOODS = [
    case["id"]
    for case in json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]
    if case["group"] == "flood_fill"
]

pytestmark = pytest.mark.usefixtures("emulated_backend", "nan_in_uninitialised_memory")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case_id", FLOODS)
def test_golden_floods(case_id, dtype):
    case = golden(case_id)
    kept = flood_fill(torch.tensor(case["inputs"]["P"], dtype=dtype), case["inputs"]["threshold"])
    assert kept.int().tolist() == case["expected"]["mask_before_diagonal"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("nb", [1, 2, 7, 33, 90])
def test_floods_are_those_of_the_cpu(nb, selection, dtype):
    generator = torch.Generator().manual_seed(nb)
    # Few distinct values, so that ties are everywhere; and none.
    tied = torch.randint(-4, 5, (nb, nb), generator=generator).to(dtype) / 4
    for pooled in (tied, random(nb, dtype)):
        for threshold in (-math.inf, -0.5, 0.0, 0.25, 0.6, 1.0, math.inf):
            assert_same_bits(flood_fill, pooled, threshold, selection=selection)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_floods_of_many_blocks(selection):
    # More rows than the growing thread block has threads.
    assert_same_bits(flood_fill, random(270), 0.45, selection=selection)


@pytest.mark.parametrize("layout", STRIDED)
@pytest.mark.parametrize("selection", SELECTIONS)
def test_floods_of_views(selection, layout):
    assert_same_bits(flood_fill, layout(random(40)), 0.3, selection=selection)


def test_growing_follows_a_region_around_every_turn():
    # A spiral of ones that touches the diagonal at its outer end only; its last turns are deep
    # inside, against the direction of every first sweep.
    side = 21
    pooled = torch.zeros(side, side)
    top, left, bottom, right = 0, 0, side - 1, side - 1
    while top < bottom:
        pooled[top, left : right + 1] = pooled[top : bottom + 1, right] = 1.0
        pooled[bottom, left : right + 1] = pooled[top + 2 : bottom + 1, left] = 1.0
        pooled[top + 2, left : left + 2] = 1.0
        top, left, bottom, right = top + 2, left + 2, bottom - 2, right - 2
    assert_same_bits(flood_fill, pooled, 0.5, selection="connected")
    assert_same_bits(flood_fill, pooled.flip(0), 0.5, selection="connected")


def test_threshold_is_compared_in_float64():
    value = torch.tensor(0.1)  # 0.1 + 1.5e-9
    assert flood_fill(value.expand(2, 2), 0.1).int().tolist() == [[0, 0], [0, 1]]
    assert not flood_fill(value.expand(2, 2), float(value)).any()


def test_nan_is_refused():
    with pytest.raises(ValueError, match="pooled: expected numbers, got NaN"):
        flood_fill(torch.full((2, 2), math.nan), 0.0)


def test_a_map_of_nothing():
    empty = torch.zeros(0, 0)
    assert torch.ops.spion_bench_emulated.flood_fill(empty, 0.0, "walk").shape == (0, 0)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_opcheck(selection):
    op = torch.ops.spion_bench_emulated.flood_fill.default
    torch.library.opcheck(op, (random(8, torch.float32).T, 0.5, selection))
