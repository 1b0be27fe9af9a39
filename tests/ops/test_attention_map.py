import math
import re

import pytest
import torch

from spion_bench.native import library
from spion_bench.ops import attention_map, reference
from tests.ops.cases import as_expanded, as_packed_slice, golden
from tests.ops.maps import compare_map

SHAPES = {
    "one_token": (1, 1, 1, 1),
    "panel": (2, 3, 32, 16),  # exactly one panel of query rows
    "ragged": (2, 2, 45, 5),  # the last panel is partial, no vector divides the width
    "long": (1, 2, 300, 80),
}


def operands(shape, dtype):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(dtype) * 2 for _ in "qk"]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_matches_the_oracle(shape, dtype, padded):
    mask = None
    if padded:
        mask = torch.rand(shape[0], shape[2]) > 0.3
        mask[0, 0] = True
        mask[1:] &= torch.rand(()) > 2  # every other example is padding only: it adds 0
    average = compare_map(*operands(shape, dtype), key_padding_mask=mask)
    real_share = 1.0 if mask is None else mask.any(1).float().mean().item()
    torch.testing.assert_close(average.sum(1), torch.full_like(average[0], real_share))


@pytest.mark.parametrize("layout", [as_packed_slice, as_expanded])
def test_accepts_views(layout):
    q, k = operands((2, 3, 40, 16), torch.float32)
    compare_map(layout(q), layout(k), scale=0.1)


def test_large_scores_neither_overflow_nor_vanish():
    # Scores beyond +-1000 overflow exp; each row's own maximum must hold them.
    q, k = operands((2, 2, 45, 16), torch.float64)
    average = attention_map(q * 500, k)
    torch.testing.assert_close(average, reference.attention_map(q * 500, k))
    torch.testing.assert_close(average.sum(1), torch.ones_like(average[0]))


def test_golden_average():
    case = golden("attention_average")
    attention = torch.tensor(case["inputs"]["attention"], dtype=torch.float64)
    # With the identity for k the scores are q, and softmax undoes the logarithm.
    k = torch.eye(2, dtype=torch.float64).expand(attention.shape)
    average = attention_map(attention.log(), k, scale=1.0)
    expected = torch.tensor(case["expected"]["average"], dtype=torch.float64)
    torch.testing.assert_close(average, expected, rtol=0, atol=case["tolerance"])


def test_records_no_gradient():
    q, k = (x.requires_grad_() for x in operands((1, 1, 16, 8), torch.float32))
    assert not attention_map(q, k).requires_grad


def test_does_not_depend_on_the_number_of_threads():
    q, k = operands((2, 2, 100, 16), torch.float32)
    maps = []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        maps.append(attention_map(q, k))
    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0], maps[2])


def test_nan_propagates():
    q, k = operands((1, 1, 40, 8), torch.float32)
    q[0, 0, 7, 2] = math.nan
    average = attention_map(q, k)
    assert average[7].isnan().all()
    assert average.isnan().sum() == 40


def test_autocast_computes_in_float32():
    q, k = (x.bfloat16() for x in operands((1, 2, 16, 8), torch.float32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        average = attention_map(q, k)
    assert torch.equal(average, attention_map(q.float(), k.float()))


def test_opcheck():
    library.load()
    q, k = operands((2, 2, 24, 8), torch.float32)
    mask = torch.ones(2, 24, dtype=torch.bool)
    for padding in (None, mask):
        torch.library.opcheck(torch.ops.spion_bench.attention_map.default, (q, k, padding, 0.5))


GOOD = torch.zeros(2, 2, 24, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": GOOD.half()}, "q: expected float32 or float64, got float16"),
        ({"k": GOOD[:, :1]}, "k: expected shape [2, 2, 24, 8] as q, got [2, 1, 24, 8]"),
        (dict.fromkeys("qk", GOOD[:0]), "q: expected at least one example to average, got [0, 2"),
        (
            {"key_padding_mask": torch.ones(24, dtype=torch.bool)},
            "key_padding_mask: expected shape [B=2, L=24], got [24]",
        ),
        ({"scale": math.inf}, "scale: expected a finite number, got inf"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        attention_map(**({"q": GOOD, "k": GOOD} | change))
