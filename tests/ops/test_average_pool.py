import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spion_bench.ops.average_pool import average_pool
from spion_bench.ops.reference import pattern as reference_pattern
from tests.ops.cases import golden
from tests.ops.maps import (
    check_refused_argument,
    check_refused_maps,
    check_registration,
    check_threads,
    random_map,
)

# float32 is rounded once from float64; float64 sums of up to 2^14 positive values in two orders.
BUDGETS = {torch.float32: 1.2e-7, torch.float64: 1e-14}


def test_golden_values():
    case = golden("diag_conv_F3_8x8")
    pooled = average_pool(torch.tensor(case["expected"]["conv"]), case["inputs"]["block_size"])
    expected = torch.tensor(case["expected"]["pooled"])
    torch.testing.assert_close(pooled, expected, rtol=0, atol=case["tolerance"])


def test_sums_in_float64():
    attention_map = random_map(512, torch.float32, seed=1)
    exact = attention_map.double().view(4, 128, 4, 128).mean(dim=(1, 3))
    assert torch.equal(average_pool(attention_map, 128), exact.float())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("length", "block_size"),
    [
        (8, 8),  # one block
        (96, 32),
        (35, 7),  # neither a multiple of a vector's lanes
        (5, 1),  # blocks of single cells
        (256, 128),
    ],
)
def test_is_the_mean_of_each_block(length, block_size, dtype):
    attention_map = random_map(length, dtype)
    pooled = average_pool(attention_map, block_size)
    assert pooled.dtype == dtype
    expected = reference_pattern.average_pool(attention_map, block_size)
    torch.testing.assert_close(pooled, expected, rtol=BUDGETS[dtype], atol=0)


@given(
    nb=st.integers(1, 12),
    block_size=st.sampled_from([1, 2, 8, 32]),
    seed=st.integers(0, 2**32 - 1),
)
def test_agrees_with_reference_exactly_on_integers(nb, block_size, seed):
    generator = torch.Generator().manual_seed(seed)
    length = nb * block_size
    attention_map = torch.randint(-99, 99, (length, length), generator=generator).double()
    expected = reference_pattern.average_pool(attention_map, block_size)
    assert torch.equal(average_pool(attention_map, block_size), expected)
    assert torch.equal(average_pool(attention_map.T, block_size), expected.T)


def test_a_nan_reaches_its_block_only():
    attention_map = random_map(32)
    attention_map[9, 20] = float("nan")
    assert average_pool(attention_map, 8).isnan().nonzero().tolist() == [[1, 2]]


def test_result_does_not_depend_on_the_number_of_threads():
    check_threads(average_pool, random_map(640, torch.float32), 64)


def test_the_registration():
    check_registration(average_pool, 8, 16)


@pytest.mark.parametrize("block_size", [3, 0])
def test_a_block_size_that_is_no_divisor_is_refused(block_size):
    expected = "a divisor of the map's length 8"
    check_refused_argument(average_pool, "block_size", block_size, expected)


def test_maps_that_are_none_are_refused():
    check_refused_maps(average_pool, 1)
