import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spion_bench.block_pattern import BlockPattern
from spion_bench.ops.reference import pattern as reference_pattern
from spion_bench.pattern.generate import (
    VARIANTS,
    generate_pattern,
    pattern_stages,
    quantile_threshold,
    top_k_blocks,
    top_k_count,
)

GOLDEN = Path(__file__).parents[1] / "data" / "golden.json"
CASES = json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]
PARAMETERS = {"quantile": 0.9, "density": 0.25}


def cases(group: str) -> list[dict]:
    return [case for case in CASES if case["group"] == group]


def golden_map() -> torch.Tensor:
    """Return the closed-form map of the golden case ``pattern_64_B8``."""
    i = torch.arange(64, dtype=torch.float64)[:, None]
    j = torch.arange(64, dtype=torch.float64)[None, :]
    scores = -(i - j).abs() / 30 + 2.1 * (0.22 * i - 0.56 * j + 4.5).sin() + 2.1 * (0.42 * j).cos()
    scores += torch.where((j >= 15) & (j < 23), 0.1, 0.0)
    return scores.softmax(dim=1)


def random_map(length: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    scores = torch.randn(length, length, generator=torch.Generator().manual_seed(seed))
    return scores.to(dtype).softmax(dim=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("variant", ["C", "F", "CF"])
def test_golden_pipeline(variant, dtype):
    (case,) = cases("pattern_pipeline")
    inputs, expected = case["inputs"], case["expected"]
    stages = pattern_stages(
        golden_map().to(dtype),
        variant=variant,
        block_size=inputs["block_size"],
        quantile=inputs["quantile"],
        density=inputs["density"],
        filter_size=inputs["filter_size"],
    )
    pooled = expected["pooled_plain" if variant == "F" else "pooled_conv"]
    torch.testing.assert_close(
        stages.pooled, torch.tensor(pooled, dtype=dtype), rtol=0, atol=case["tolerance"]
    )
    assert stages.pattern.to_mask().int().tolist() == expected[f"mask_{variant}"]
    assert stages.pattern.nnzb == expected[f"blocks_{variant}"]
    assert torch.equal(stages.mask | stages.pattern.to_mask(), stages.pattern.to_mask())


@pytest.mark.parametrize("variant", ["F", "CF"])
def test_golden_thresholds(variant):
    (case,) = cases("pattern_pipeline")
    pooled = torch.tensor(case["expected"]["pooled_plain" if variant == "F" else "pooled_conv"])
    threshold = quantile_threshold(pooled, case["inputs"]["quantile"])
    assert threshold == pytest.approx(
        case["expected"][f"threshold_{variant}"], abs=case["tolerance"]
    )


@pytest.mark.parametrize("case", cases("quantile"), ids=lambda case: case["id"])
def test_golden_quantiles(case):
    values = torch.tensor(case["inputs"]["values"], dtype=torch.float32)
    threshold = quantile_threshold(values, case["inputs"]["q"])
    assert threshold == pytest.approx(case["expected"]["threshold"], abs=case["tolerance"])


def test_golden_top_k():
    case = next(case for case in cases("topk") if case["id"] == "topk_6x6")
    pooled = torch.tensor(case["inputs"]["P"])
    assert top_k_count(6, case["inputs"]["density"]) == case["expected"]["k"]
    mask = top_k_blocks(pooled, case["inputs"]["density"])
    assert mask.flatten().nonzero().flatten().tolist() == case["expected"]["flat_indices_sorted"]
    assert mask.fill_diagonal_(True).int().tolist() == case["expected"]["mask"]


def test_golden_top_k_counts_of_the_published_configurations():
    case = next(case for case in cases("topk") if case["id"] == "topk_k_by_config")
    for config in case["expected"].values():
        assert top_k_count(config["nb"], config["density"]) == config["k"]


def test_top_k_count_is_never_negative():
    assert top_k_count(8, 0.01) == 0
    attention_map = random_map(64, seed=0)
    pattern = generate_pattern(attention_map, variant="C", block_size=8, density=0.01)
    assert pattern == BlockPattern.band(64, 8, width=0)


def test_top_k_takes_the_first_of_equals():
    pooled = torch.tensor([[0.0, 1.0, 1.0], [1.0, 2.0, 1.0], [1.0, 1.0, 0.0]])
    # int(9 * 0.75 - 3) = 3: the 2 and the first two of the six ones.
    assert top_k_blocks(pooled, 0.75).int().tolist() == [[0, 1, 1], [0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("variant", ["C", "F", "CF"])
@given(seed=st.integers(0, 2**32 - 1), nb=st.integers(1, 12))
def test_pattern_follows_the_reference_stages(variant, seed, nb):
    attention_map = random_map(8 * nb, seed, torch.float64)
    stages = pattern_stages(attention_map, variant=variant, block_size=8, **PARAMETERS)
    filtered = reference_pattern.diagonal_conv(attention_map, 31)
    source = attention_map if variant == "F" else filtered
    pooled = torch.nn.functional.avg_pool2d(source[None, None], 8)[0, 0]
    torch.testing.assert_close(stages.pooled, pooled, rtol=0, atol=1e-13)
    if variant == "C":
        count = top_k_count(nb, PARAMETERS["density"])
        chosen = torch.zeros(nb * nb, dtype=torch.bool)
        chosen[torch.topk(stages.pooled.flatten(), count).indices] = True
        chosen = chosen.view(nb, nb)
    else:
        threshold = float(torch.quantile(stages.pooled.flatten(), PARAMETERS["quantile"]))
        chosen = reference_pattern.flood_fill(stages.pooled, threshold)
    assert torch.equal(stages.mask, chosen)
    assert stages.pattern == BlockPattern.from_mask(chosen.fill_diagonal_(True), 8)


@pytest.mark.parametrize("selection", ["walk", "connected"])
@pytest.mark.parametrize("variant", ["C", "F", "CF"])
@given(
    seed=st.integers(0, 2**32 - 1),
    nb=st.integers(1, 16),
    quantile=st.floats(0, 1),
    density=st.floats(0.01, 1),
)
def test_diagonal_stays_and_block_count_is_limited(variant, selection, seed, nb, quantile, density):
    pattern = generate_pattern(
        random_map(8 * nb, seed),
        variant=variant,
        block_size=8,
        quantile=quantile,
        density=density,
        selection=selection,
    )
    assert bool(pattern.to_mask().diagonal().all())
    # Strictly above an interpolated quantile lie at most ceil((1 - q) * n) of n values; one more
    # where rounding puts an exact index just below the value it should equal.
    limits = {"quantile": math.ceil((1 - quantile) * nb * nb) + 1, "density": density * nb * nb}
    assert nb <= pattern.nnzb <= limits[VARIANTS[variant].parameter] + nb


@given(seed=st.integers(0, 2**32 - 1), quantiles=st.tuples(st.floats(0, 1), st.floats(0, 1)))
@pytest.mark.parametrize("variant", ["F", "CF"])
def test_a_higher_quantile_keeps_a_subset(variant, seed, quantiles):
    masks = [
        generate_pattern(
            random_map(96, seed), variant=variant, block_size=8, quantile=quantile
        ).to_mask()
        for quantile in sorted(quantiles)
    ]
    assert not bool((masks[1] & ~masks[0]).any())


@pytest.mark.parametrize("variant", ["C", "F", "CF"])
def test_transposed_map_gives_the_transposed_pattern(variant):
    # Integers: filter and pooling are exact in any order of summation.
    generator = torch.Generator().manual_seed(3)
    attention_map = torch.randint(0, 2**20, (128, 128), generator=generator).double()
    pattern = generate_pattern(attention_map, variant=variant, block_size=8, **PARAMETERS)
    transposed = generate_pattern(attention_map.T, variant=variant, block_size=8, **PARAMETERS)
    assert transposed == pattern.transpose()
    assert transposed != pattern


@pytest.mark.parametrize(
    ("variant", "nb", "quantile", "most"),
    [("CF", 32, 0.96, 73), ("F", 32, 0.98, 53), ("CF", 64, 0.99, 105)],
    ids=["image", "listops", "retrieval"],
)
def test_published_block_counts_are_not_exceeded(variant, nb, quantile, most):
    pattern = generate_pattern(
        random_map(8 * nb, seed=5), variant=variant, block_size=8, quantile=quantile
    )
    assert nb < pattern.nnzb <= most


def test_uniform_attention_gives_only_the_diagonal():
    uniform = torch.full((1024, 1024), 1 / 1024)
    pattern = generate_pattern(uniform, variant="F", block_size=32, quantile=0.96)
    assert pattern == BlockPattern.band(1024, 32, width=0)


def test_connected_selection_is_not_the_walk():
    options = {"variant": "CF", "block_size": 8, "quantile": 0.6}
    walked = generate_pattern(golden_map(), **options)
    grown = generate_pattern(golden_map(), **options, selection="connected")
    assert walked != grown


@pytest.mark.parametrize("variant", ["C", "F", "CF"])
def test_unused_arguments_are_ignored(variant):
    needed = VARIANTS[variant].parameter
    unused = "density" if needed == "quantile" else "quantile"
    options = {"variant": variant, "block_size": 8, needed: PARAMETERS[needed]}
    if variant == "F":
        options["filter_size"] = 2
    expected = generate_pattern(
        golden_map(), variant=variant, block_size=8, **{needed: PARAMETERS[needed]}
    )
    assert generate_pattern(golden_map(), **options, **{unused: -1.0}) == expected


def test_map_with_gradient_or_strides_gives_the_same_pattern():
    options = {"variant": "CF", "block_size": 8, "quantile": 0.9}
    expected = generate_pattern(golden_map(), **options)
    wide = torch.zeros(64, 128, dtype=torch.float64)
    wide[:, ::2] = golden_map()
    assert generate_pattern(wide[:, ::2].requires_grad_(), **options) == expected
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert generate_pattern(golden_map(), **options) == expected


def with_value(value: float) -> torch.Tensor:
    attention_map = golden_map()
    attention_map[63, 0] = value
    return attention_map


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": "G"}, "variant: expected one of C, F, CF, got 'G'"),
        ({"attention_map": torch.zeros(64, 32)}, "attention_map: expected a square"),
        ({"attention_map": torch.zeros(0, 0)}, "attention_map: expected a square"),
        ({"attention_map": torch.zeros(60, 60)}, "multiple of block_size=8.*60; pad .* to 64"),
        ({"attention_map": torch.zeros(64, 64).half()}, "expected float32 or float64"),
        ({"attention_map": with_value(math.nan)}, "expected finite numbers, got NaN"),
        ({"attention_map": with_value(math.inf)}, "expected finite numbers, got NaN or infinity"),
        ({"block_size": 12}, "block_size: expected a power of two"),
        ({"filter_size": 30}, "filter_size: expected a positive odd number, got 30"),
        ({"quantile": None}, "quantile: expected a number for variant CF, got None"),
        ({"quantile": 1.5}, "quantile: expected a number from 0 to 1, got 1.5"),
        ({"quantile": math.nan}, "quantile: expected a number from 0 to 1, got nan"),
        ({"selection": "flood"}, "selection: expected"),
        ({"variant": "C"}, "density: expected a number for variant C, got None"),
        ({"variant": "C", "density": 0.0}, "density: expected a number above 0"),
        ({"variant": "C", "density": 1.1}, "density: expected a number above 0"),
    ],
)
def test_errors_name_the_argument(change, message):
    arguments = {
        "attention_map": golden_map(),
        "variant": "CF",
        "block_size": 8,
        "quantile": 0.9,
    } | change
    with pytest.raises(ValueError, match=message):
        generate_pattern(**arguments)
