import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spion_bench.native import library
from spion_bench.ops.flood_fill import flood_fill
from spion_bench.ops.reference import pattern as reference_pattern

GOLDEN = Path(__file__).parents[1] / "data" / "golden.json"
CASES = [
    case
    for case in json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]
    if case["group"] == "flood_fill"
]
SELECTIONS = ("walk", "connected")


@st.composite
def tied_maps(draw, max_side=12, lowest=0):
    """Square maps with so few distinct values that ties are everywhere."""
    side = draw(st.integers(1, max_side))
    cells = draw(st.lists(st.integers(lowest, 4), min_size=side * side, max_size=side * side))
    return torch.tensor(cells, dtype=torch.float32).view(side, side) / 4


def distinct_map(side: int, seed: int) -> torch.Tensor:
    """Return a map in which no two values are equal."""
    order = torch.randperm(side * side, generator=torch.Generator().manual_seed(seed))
    return (order.view(side, side) + 1).double() / (side * side)


def is_subset(smaller: torch.Tensor, larger: torch.Tensor) -> bool:
    return not bool((smaller & ~larger).any())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_golden_masks(case, dtype):
    pooled = torch.tensor(case["inputs"]["P"], dtype=dtype)
    kept = flood_fill(pooled, case["inputs"]["threshold"])
    assert kept.dtype == torch.bool
    assert kept.int().tolist() == case["expected"]["mask_before_diagonal"]
    kept.fill_diagonal_(True)
    assert kept.int().tolist() == case["expected"]["mask"]
    assert int(kept.sum()) == case["expected"]["blocks"]


@pytest.mark.parametrize(
    ("case", "seed", "path"),
    [
        pytest.param(case, seed, path, id=f"{case['id']}-{seed}")
        for case in CASES
        for seed, path in case["expected"].get("paths_in_padded_matrix", {}).items()
    ],
)
def test_reference_walks_the_golden_paths(case, seed, path):
    padded = [[*row, 0.0] for row in case["inputs"]["P"]]
    padded.append([0.0] * len(padded[0]))
    row, col = map(int, seed.split(","))
    walked = reference_pattern.walk_path(padded, (row, col))
    assert [list(cell) for cell in walked] == path


@given(pooled=tied_maps(), threshold=st.sampled_from([-0.5, 0.0, 0.2, 0.25, 0.6, 0.75, 1.0]))
@pytest.mark.parametrize("selection", SELECTIONS)
def test_agrees_with_reference_on_ties(selection, pooled, threshold):
    expected = reference_pattern.flood_fill(pooled, threshold, selection=selection)
    assert torch.equal(flood_fill(pooled, threshold, selection=selection), expected)


@given(pooled=tied_maps(lowest=-4), threshold=st.sampled_from([-0.8, -0.5, 0.0, 0.5]))
@pytest.mark.parametrize("selection", SELECTIONS)
def test_agrees_with_reference_on_signed_values(selection, pooled, threshold):
    expected = reference_pattern.flood_fill(pooled, threshold, selection=selection)
    assert torch.equal(flood_fill(pooled, threshold, selection=selection), expected)


@given(side=st.integers(1, 40), seed=st.integers(0, 2**32 - 1), threshold=st.floats(0, 1))
@pytest.mark.parametrize("selection", SELECTIONS)
def test_agrees_with_reference_on_distinct_values(selection, side, seed, threshold):
    pooled = distinct_map(side, seed)
    expected = reference_pattern.flood_fill(pooled, threshold, selection=selection)
    assert torch.equal(flood_fill(pooled, threshold, selection=selection), expected)


@given(pooled=tied_maps(), thresholds=st.tuples(st.floats(0, 1), st.floats(0, 1)))
@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_higher_threshold_keeps_a_subset(selection, pooled, thresholds):
    low, high = sorted(thresholds)
    kept_low = flood_fill(pooled, low, selection=selection)
    kept_high = flood_fill(pooled, high, selection=selection)
    assert is_subset(kept_high, kept_low)
    assert is_subset(kept_low, pooled.double() > low)


@given(pooled=tied_maps(), threshold=st.floats(0, 1))
def test_growing_commutes_with_transposing(pooled, threshold):
    kept = flood_fill(pooled, threshold, selection="connected")
    assert torch.equal(flood_fill(pooled.T, threshold, selection="connected"), kept.T)


@given(side=st.integers(1, 20), seed=st.integers(0, 2**32 - 1), threshold=st.floats(0, 1))
def test_walk_commutes_with_transposing_where_nothing_ties(side, seed, threshold):
    pooled = distinct_map(side, seed)
    assert torch.equal(flood_fill(pooled.T, threshold), flood_fill(pooled, threshold).T)


def test_walk_never_keeps_the_first_cell():
    pooled = torch.full((5, 5), 0.5)
    pooled[0, 0] = 1.0
    assert not flood_fill(pooled, 0.0)[0, 0]


def test_growing_finds_what_the_walk_misses_and_drops_what_touches_no_diagonal_region():
    pooled = torch.zeros(6, 6)
    pooled[1, 1] = 0.9
    pooled[1, 2:5] = 0.8  # a branch to the right of the diagonal
    pooled[0, 4] = 0.7  # its end turns upwards, where no walk goes
    pooled[5, 0] = 1.0  # an island
    walked = flood_fill(pooled, 0.5)
    grown = flood_fill(pooled, 0.5, selection="connected")
    assert grown.nonzero().tolist() == [[0, 4], [1, 1], [1, 2], [1, 3], [1, 4]]
    assert not walked[0, 4]


def test_growing_starts_at_diagonal_cells_below_the_threshold():
    pooled = torch.tensor([[0.0, 0.9, 0.0], [0.0, 0.0, 0.0], [0.9, 0.0, 0.0]])
    kept = flood_fill(pooled, 0.5, selection="connected")
    assert kept.nonzero().tolist() == [[0, 1]]


def test_threshold_is_compared_in_float64():
    value = torch.tensor(0.1, dtype=torch.float32)  # 0.1 + 1.5e-9
    pooled = value.expand(2, 2)
    assert flood_fill(pooled, 0.1).int().tolist() == [[0, 0], [0, 1]]
    assert not flood_fill(pooled, float(value)).any()


def test_strided_input_gives_the_same_result():
    strided = distinct_map(32, seed=1)[::2, ::2]
    assert torch.equal(flood_fill(strided, 0.5), flood_fill(strided.contiguous(), 0.5))


def test_records_no_gradient():
    pooled = distinct_map(4, seed=0).requires_grad_()
    assert not flood_fill(pooled, 0.5).requires_grad


@pytest.mark.parametrize("selection", SELECTIONS)
def test_opcheck(selection):
    library.load()
    op = torch.ops.spion_bench.flood_fill.default
    torch.library.opcheck(op, (distinct_map(8, seed=0), 0.5, selection))
    torch.library.opcheck(op, (distinct_map(8, seed=0).float().T, 0.5, selection))


@pytest.mark.parametrize(
    ("pooled", "threshold", "selection", "message"),
    [
        (torch.zeros(2, 3), 0.0, "walk", r"pooled: expected a square \[nb, nb\] matrix"),
        (torch.zeros(2, 2, dtype=torch.bfloat16), 0.0, "walk", "pooled: expected float32"),
        (torch.zeros(2, 2, device="meta"), 0.0, "walk", "pooled: expected a CPU or CUDA tensor"),
        (torch.full((2, 2), torch.nan), 0.0, "walk", "pooled: expected numbers, got NaN"),
        (torch.zeros(2, 2), float("nan"), "walk", "threshold: expected a number, got NaN"),
        (torch.zeros(2, 2), 0.0, "flood", "selection: expected .*got 'flood'"),
    ],
)
def test_errors_name_the_argument(pooled, threshold, selection, message):
    with pytest.raises(ValueError, match=message):
        flood_fill(pooled, threshold, selection=selection)


def test_kernel_refuses_wrong_arguments_of_direct_calls():
    library.load()
    with pytest.raises(RuntimeError, match="selection: expected"):
        torch.ops.spion_bench.flood_fill(torch.zeros(2, 2), 0.0, "flood")
    with pytest.raises(RuntimeError, match="pooled: expected a square"):
        torch.ops.spion_bench.flood_fill(torch.zeros(2, 3), 0.0, "walk")
