"""CUDA sources from map to pattern on the emulator: the CPU's patterns, and golden values."""

import pytest
import torch

from spion_bench.ops import attention_map
from spion_bench.ops.average_pool import average_pool
from spion_bench.ops.diagonal_conv import diagonal_conv
from spion_bench.ops.flood_fill import flood_fill
from spion_bench.pattern.generate import VARIANTS, generate_pattern, pattern_stages
from tests.emulation.pattern_cases import DTYPES, SELECTIONS, on_cpu, random
from tests.ops.cases import golden

pytestmark = pytest.mark.usefixtures("emulated_backend", "nan_in_uninitialised_memory")


def test_golden_filter_and_pool():
    case = golden("diag_conv_F3_8x8")
    filtered = diagonal_conv(torch.tensor(case["inputs"]["A"]), case["inputs"]["F"])
    pooled = average_pool(filtered, case["inputs"]["block_size"])
    for name, got in (("conv", filtered), ("pooled", pooled)):
        expected = torch.tensor(case["expected"][name])
        torch.testing.assert_close(got, expected, rtol=0, atol=case["tolerance"])


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
