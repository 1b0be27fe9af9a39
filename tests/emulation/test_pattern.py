"""CUDA sources from map to pattern on the emulator: the CPU kernels' bits, and golden values."""

import json
import math

import pytest
import torch

from spion_bench.native import library
from spion_bench.ops import attention_map
from spion_bench.ops.average_pool import average_pool
from spion_bench.ops.diagonal_conv import diagonal_conv
from spion_bench.ops.flood_fill import flood_fill
from spion_bench.pattern.generate import VARIANTS, generate_pattern, pattern_stages
from tests.ops.cases import GOLDEN, golden

DTYPES = [torch.float32, torch.float64]
SELECTIONS = ["walk", "connected"]
FLOODS = [
    case["id"]
    for case in json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]
    if case["group"] == "flood_fill"
]

# The first test of a fresh checkout waits for the compiler.
pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("emulated_backend", "nan_in_uninitialised_memory"),
]


def on_cpu(operator, *args, **options):
    with library.use_backend("cpu"):
        return operator(*args, **options)


def assert_same_bits(operator, *args, **options):
    got = operator(*args, **options)
    expected = on_cpu(operator, *args, **options)
    assert got.dtype == expected.dtype
    torch.testing.assert_close(got, expected, rtol=0, atol=0, equal_nan=True)


def random(length, dtype=torch.float64, seed=0):
    return torch.rand(length, length, dtype=dtype, generator=torch.Generator().manual_seed(seed))


# Layouts of a matrix that are not contiguous: transposed, every other value, one value for all.
STRIDED = [lambda x: x.T, lambda x: x[::2, ::2], lambda x: x[:1, :1].expand(x.shape)]


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
def test_passes_over_views(layout):
    values = layout(random(70))
    assert_same_bits(diagonal_conv, values, 5)
    assert_same_bits(average_pool, values, 7 if len(values) % 2 == 0 else 5)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_a_special_value_reaches_its_windows_only(value):
    values = random(60)
    values[20, 30] = value
    assert_same_bits(diagonal_conv, values, 9)
    assert_same_bits(average_pool, values, 12)


def test_golden_filter_and_pool():
    case = golden("diag_conv_F3_8x8")
    filtered = diagonal_conv(torch.tensor(case["inputs"]["A"]), case["inputs"]["F"])
    pooled = average_pool(filtered, case["inputs"]["block_size"])
    for name, got in (("conv", filtered), ("pooled", pooled)):
        expected = torch.tensor(case["expected"][name])
        torch.testing.assert_close(got, expected, rtol=0, atol=case["tolerance"])


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


def golden_map():
    """Return the closed-form map of the golden case ``pattern_64_B8``."""
    i = torch.arange(64, dtype=torch.float64)[:, None]
    j = torch.arange(64, dtype=torch.float64)[None, :]
    scores = -(i - j).abs() / 30 + 2.1 * (0.22 * i - 0.56 * j + 4.5).sin() + 2.1 * (0.42 * j).cos()
    scores += torch.where((j >= 15) & (j < 23), 0.1, 0.0)
    return scores.softmax(dim=1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_golden_pipeline(variant, dtype):
    case = golden("pattern_64_B8")
    names = ("block_size", "quantile", "density", "filter_size")
    options = {name: case["inputs"][name] for name in names}
    stages = pattern_stages(golden_map().to(dtype), variant=variant, **options)
    expected = case["expected"]["pooled_plain" if variant == "F" else "pooled_conv"]
    torch.testing.assert_close(
        stages.pooled, torch.tensor(expected, dtype=dtype), rtol=0, atol=case["tolerance"]
    )
    assert stages.pattern.to_mask().int().tolist() == case["expected"][f"mask_{variant}"]


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_patterns_are_those_of_the_cpu(variant, selection):
    generator = torch.Generator().manual_seed(0)
    q, k = (2 * torch.randn(2, 2, 160, 16, generator=generator) for _ in "qk")
    average = attention_map(q, k)
    options = {"variant": variant, "block_size": 8, "quantile": 0.9, "density": 0.2}
    pattern = generate_pattern(average, **options, selection=selection)
    assert pattern == on_cpu(generate_pattern, average, **options, selection=selection)


def test_bits_depend_on_nothing_but_the_inputs(monkeypatch):
    results = []
    for threads, seed in (("1", "0"), ("2", "0"), ("2", "3")):
        monkeypatch.setenv("EMU_THREADS", threads)
        monkeypatch.setenv("EMU_SEED", seed)
        pooled = average_pool(diagonal_conv(random(200), 31), 4)
        grown = [flood_fill(pooled, float(pooled.median()), selection=s) for s in SELECTIONS]
        results.append([pooled, *grown])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def many(shape, dtype=torch.float32):
    """Return zeros of any size in no memory."""
    return torch.zeros((), dtype=dtype).expand(shape)


@pytest.mark.parametrize(
    ("operator", "args", "message"),
    [
        (diagonal_conv, (many((300_000, 300_000)),), "attention_map: expected at most 262144 rows"),
        (average_pool, (many((300_000, 300_000)), 8), "attention_map: expected at most 262144"),
        (flood_fill, (many((2, 2)) * math.nan, 0.0), "pooled: expected numbers, got NaN"),
    ],
)
def test_what_the_kernels_lack_is_refused(operator, args, message):
    with pytest.raises((RuntimeError, ValueError), match=message):
        operator(*args)


def test_maps_of_nothing():
    ops = torch.ops.spion_bench_emulated
    empty = torch.zeros(0, 0)
    assert ops.diagonal_conv(empty, 3).shape == ops.average_pool(empty, 8).shape == (0, 0)
    assert ops.flood_fill(empty, 0.0, "walk").shape == (0, 0)


def test_opcheck():
    ops = torch.ops.spion_bench_emulated
    pooled = random(8, torch.float32)
    torch.library.opcheck(ops.diagonal_conv.default, (pooled.T, 3))
    torch.library.opcheck(ops.average_pool.default, (pooled.T, 4))
    for selection in SELECTIONS:
        torch.library.opcheck(ops.flood_fill.default, (pooled.T, 0.5, selection))
