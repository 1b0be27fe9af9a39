"""The CUDA source of diagonal_conv on the emulator: the bits of the CPU kernels."""

import math

import pytest
import torch

from spion_bench.ops.diagonal_conv import diagonal_conv
from tests.emulation.pattern_cases import DTYPES, STRIDED, assert_same_bits, many, random

pytestmark = pytest.mark.usefixtures("emulated_backend", "nan_in_uninitialised_memory")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("length", "filter_size"),
    [
        (1, 31),  # a single cell
        (33, 31),  # a second group of rows that holds two
        (64, 1),  # a filter that does nothing
        (95, 9),
        (130, 31),  # a second tile of columns, a fifth of rows
        (40, 101),  # taps that only ever see zeros
    ],
)
def test_filter_has_the_bits_of_the_cpu(length, filter_size, dtype):
    assert_same_bits(diagonal_conv, random(length, dtype), filter_size)


@pytest.mark.parametrize("layout", STRIDED)
def test_views(layout):
    values = layout(random(70))
    assert_same_bits(diagonal_conv, values, 5)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_a_special_value_reaches_its_windows_only(value):
    values = random(60)
    values[20, 30] = value
    assert_same_bits(diagonal_conv, values, 9)


def test_maps_that_are_too_long_are_refused():
    with pytest.raises((RuntimeError, ValueError), match="attention_map: expected at most 262144"):
        diagonal_conv(many((300_000, 300_000)))


def test_a_map_of_nothing():
    empty = torch.zeros(0, 0)
    assert torch.ops.spion_bench_emulated.diagonal_conv(empty, 3).shape == (0, 0)


def test_opcheck():
    op = torch.ops.spion_bench_emulated.diagonal_conv.default
    torch.library.opcheck(op, (random(8, torch.float32).T, 3))
