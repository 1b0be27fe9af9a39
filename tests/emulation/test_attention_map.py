"""The averaged attention map's CUDA sources on the emulator, against the float64 oracle."""

import math

import pytest
import torch

from spion_bench.ops import attention_map, reference
from tests.ops.cases import as_expanded, as_packed_slice, as_strided_views, golden
from tests.ops.maps import compare_map

pytestmark = pytest.mark.usefixtures("emulated_backend", "nan_in_uninitialised_memory")


SHAPES = {
    "one_token": (1, 1, 1, 1),
    "tile": (2, 3, 64, 32),  # exactly one tile of the map
    "ragged": (2, 2, 45, 5),  # partial tiles, and a width that is padded by a copy
    "width_40": (1, 2, 130, 40),  # padded in shared memory; three tiles, the last of two rows
    "width_128": (3, 1, 70, 128),  # keys come in half steps
}


def operands(shape):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) * 2 for _ in "qk"]


def padding(batch, length):
    """Return a mask whose first example is partly padding, the second wholly."""
    mask = torch.rand(batch, length, generator=torch.Generator().manual_seed(1)) > 0.3
    mask[0, 0] = True
    mask[1:2] = False
    return mask


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_map_matches_the_oracle(shape, padded):
    mask = padding(shape[0], shape[2]) if padded else None
    average = compare_map(*operands(shape), key_padding_mask=mask)
    real_share = 1.0 if mask is None else mask.any(1).float().mean().item()
    torch.testing.assert_close(average.sum(1), torch.full_like(average[0], real_share))


@pytest.mark.parametrize("layout", [as_strided_views, as_packed_slice, as_expanded])
def test_map_of_views(layout):
    q, k = operands((2, 3, 72, 16))
    mask = padding(72, 2).T  # not contiguous either
    compare_map(layout(q), layout(k), key_padding_mask=mask)


@pytest.mark.parametrize("scale", [-0.4, 0.0, 0.7])
def test_scales_of_a_map(scale):
    q, k = operands((2, 2, 40, 16))
    compare_map(q, k, scale=scale, key_padding_mask=padding(2, 40))


def test_large_scores_neither_overflow_nor_vanish():
    q, k = operands((2, 2, 45, 16))
    average = attention_map(q * 500, k)
    torch.testing.assert_close(average.sum(1), torch.ones_like(average[0]))
    # Scores of thousands are known to about 1e-3; few rows have two that are as close.
    exact = reference.attention_map(q.double() * 500, k.double())
    assert ((average - exact).abs() > 1e-3).double().mean() < 0.01


def test_nan_reaches_its_row_of_a_map_and_no_padded_key():
    q, k = operands((1, 1, 40, 8))
    q[0, 0, 7, 2] = math.nan
    k[0, 0, 9, 2] = math.nan
    mask = torch.ones(1, 40, dtype=torch.bool)
    mask[0, 9] = False
    average = attention_map(q, k, key_padding_mask=mask)
    assert average[7].isnan().all()
    assert average.isnan().sum() == 40


def test_golden_average():
    case = golden("attention_average")
    attention = torch.tensor(case["inputs"]["attention"])
    # With the identity for k the scores are q, and softmax undoes the logarithm.
    average = attention_map(attention.log(), torch.eye(2).expand(attention.shape), scale=1.0)
    expected = torch.tensor(case["expected"]["average"])
    torch.testing.assert_close(average, expected, rtol=0, atol=case["tolerance"])


def test_tf32_is_for_those_who_ask_torch_for_it(allow_tf32):
    q, k = operands((1, 2, 80, 64))
    exact = reference.attention_map(q.double(), k.double())
    errors = []
    for allow in (lambda: None, allow_tf32):
        allow()
        errors.append(((attention_map(q, k) - exact).abs().max() / exact.abs().max()).item())
    assert errors[0] < 1e-5 < errors[1] < 2**-6


def test_bits_depend_on_nothing_but_the_inputs(monkeypatch):
    q, k = operands((2, 2, 100, 16))
    results = []
    for threads, seed in (("1", "0"), ("2", "0"), ("2", "3")):
        monkeypatch.setenv("EMU_THREADS", threads)
        monkeypatch.setenv("EMU_SEED", seed)
        results.append(attention_map(q, k, key_padding_mask=padding(2, 100)))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


SMALL = torch.zeros(1, 1, 32, 32)


@pytest.mark.parametrize(
    ("q", "message"),
    [
        (SMALL.double(), "q: expected float32, got float64"),
        (torch.zeros(1, 1, 8, 136), "q: expected a head width D from 1 to 128 on CUDA, got 136"),
        (SMALL.expand(2, 40_000, 32, 32), "q: expected at most 65535 batch items times heads"),
        (SMALL[:, :, :1].expand(1, 1, 300_000, 32), "q: expected at most 262144 rows on CUDA"),
    ],
)
def test_what_the_kernels_lack_is_refused(q, message):
    with pytest.raises((ValueError, RuntimeError), match=message):
        attention_map(q, q)


def test_a_map_of_nothing():
    op = torch.ops.spion_bench_emulated.attention_map
    assert op(SMALL[:, :, :0], SMALL[:, :, :0], None, 1.0).shape == (0, 0)
    with pytest.raises(RuntimeError, match="q: expected at least one batch item and head"):
        op(SMALL[:0], SMALL[:0], None, 1.0)


def test_opcheck():
    q, k = operands((2, 2, 24, 8))
    for mask in (None, padding(2, 24)):
        op = torch.ops.spion_bench_emulated.attention_map.default
        torch.library.opcheck(op, (q, k, mask, 0.5))
