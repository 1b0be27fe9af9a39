import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from spion_bench.ops.diagonal_conv import diagonal_conv
from spion_bench.ops.reference import pattern as reference_pattern
from tests.ops.maps import (
    check_refused_argument,
    check_refused_maps,
    check_registration,
    check_threads,
    random_map,
)

GOLDEN = Path(__file__).parents[1] / "data" / "golden.json"

# Rounding of sums of up to 31 values below 1: float32 outputs are rounded once from float64.
BUDGETS = {torch.float32: 2e-6, torch.float64: 1e-13}


def test_golden_values():
    cases = json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]
    (case,) = [c for c in cases if c["group"] == "diagonal_convolution"]
    attention_map = torch.tensor(case["inputs"]["A"], dtype=torch.float32)
    out = diagonal_conv(attention_map, case["inputs"]["F"])
    expected = torch.tensor(case["expected"]["conv"], dtype=torch.float32)
    torch.testing.assert_close(out, expected, rtol=0, atol=case["tolerance"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("length", "filter_size"),
    [
        (1, 31),  # a single cell
        (16, 31),  # the filter is longer than every diagonal
        (31, 31),  # one group of rows
        (33, 31),  # a second group of two rows
        (64, 1),  # a filter that does nothing
        (100, 3),
        (95, 9),  # an odd number of rows in the last group
        (600, 5),  # several panels of diagonals
        (510, 5),  # the last two diagonals have a panel to themselves
        (40, 101),  # taps that only ever see zeros
    ],
)
def test_equals_convolution_with_identity_kernel(length, filter_size, dtype):
    attention_map = random_map(length, dtype)
    kernel = torch.eye(filter_size, dtype=torch.float64)[None, None]
    expected = F.conv2d(attention_map.double()[None, None], kernel, padding=filter_size // 2)[0, 0]
    out = diagonal_conv(attention_map, filter_size)
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=BUDGETS[dtype])


@given(length=st.integers(1, 80), half=st.integers(0, 50), seed=st.integers(0, 2**32 - 1))
def test_agrees_with_reference_exactly_on_integers(length, half, seed):
    generator = torch.Generator().manual_seed(seed)
    attention_map = torch.randint(-100, 100, (length, length), generator=generator).double()
    filter_size = 2 * half + 1
    expected = reference_pattern.diagonal_conv(attention_map, filter_size)
    assert torch.equal(diagonal_conv(attention_map, filter_size), expected)
    assert torch.equal(diagonal_conv(attention_map.T, filter_size), expected.T)


def test_default_filter_is_the_published_one():
    attention_map = random_map(50)
    assert torch.equal(diagonal_conv(attention_map), diagonal_conv(attention_map, 31))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_value_reaches_only_its_windows(value):
    attention_map = random_map(60)
    attention_map[20, 30] = value
    out = diagonal_conv(attention_map, 9)
    rows, cols = (~torch.isfinite(out)).nonzero(as_tuple=True)
    assert rows.tolist() == list(range(16, 25))
    assert cols.tolist() == list(range(26, 35))


def test_a_huge_value_leaves_no_trace_behind_its_windows():
    attention_map = random_map(60)
    clean = diagonal_conv(attention_map, 9)
    attention_map[20, 30] = 1e30
    out = diagonal_conv(attention_map, 9)
    assert torch.equal(out[25:], clean[25:])


def test_result_does_not_depend_on_the_number_of_threads():
    check_threads(diagonal_conv, random_map(700, torch.float32), 31)


def test_strided_input_gives_the_same_result():
    wide = random_map(64)
    strided = wide[::2, ::2]
    assert torch.equal(diagonal_conv(strided, 5), diagonal_conv(strided.contiguous(), 5))


def test_the_registration():
    check_registration(diagonal_conv, 31, 3)


@pytest.mark.parametrize("filter_size", [4, -1])
def test_a_filter_that_is_even_or_less_than_one_is_refused(filter_size):
    expected = "a positive odd number"
    check_refused_argument(diagonal_conv, "filter_size", filter_size, expected)


def test_maps_that_are_none_are_refused():
    check_refused_maps(diagonal_conv, 3)
