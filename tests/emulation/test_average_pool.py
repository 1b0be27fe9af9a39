"""The CUDA source of average_pool on the emulator: the bits of the CPU kernels."""

import math

import pytest
import torch

from spion_bench.ops.average_pool import average_pool
from tests.emulation.pattern_cases import DTYPES, STRIDED, assert_same_bits, many, random

pytestmark = pytest.mark.usefixtures("emulated_backend", "nan_in_uninitialised_memory")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("length", "block_size"),
    [
        (5, 1),  # blocks of single cells
        (130, 1),  # more of them than a thread block has threads
        (35, 7),  # 18 blocks per thread block, five exist
        (264, 24),  # three groups of blocks along a row, the last one partial
        (256, 128),
        (390, 130),  # wider than a thread block, in two pieces
    ],
)
def test_pool_has_the_bits_of_the_cpu(length, block_size, dtype):
    assert_same_bits(average_pool, random(length, dtype), block_size)


@pytest.mark.parametrize("layout", STRIDED)
def test_views(layout):
    values = layout(random(70))
    assert_same_bits(average_pool, values, 7 if len(values) % 2 == 0 else 5)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_a_special_value_reaches_its_block_only(value):
    values = random(60)
    values[20, 30] = value
    assert_same_bits(average_pool, values, 12)


def test_maps_that_are_too_long_are_refused():
    with pytest.raises((RuntimeError, ValueError), match="attention_map: expected at most 262144"):
        average_pool(many((300_000, 300_000)), 8)


def test_a_map_of_nothing():
    empty = torch.zeros(0, 0)
    assert torch.ops.spion_bench_emulated.average_pool(empty, 8).shape == (0, 0)


def test_opcheck():
    op = torch.ops.spion_bench_emulated.average_pool.default
    torch.library.opcheck(op, (random(8, torch.float32).T, 4))
