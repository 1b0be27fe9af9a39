from dataclasses import replace

import pytest
import torch

from spion_bench.passes.kernel.attention import check_subject
from spion_bench.passes.kernel.peers import sliding_window, window_reference
from spion_bench.suite.cases.sweeps import BASE


def inputs(length, head_dim=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 2, length, head_dim)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for _ in range(3)
    ]


@pytest.mark.parametrize(("width", "chunk"), [(1, 16), (5, 8), (16, 16), (31, 8), (100, 32)])
def test_the_window_is_exact_forward_and_backward(width, chunk):
    q, k, v = inputs(64)
    out = sliding_window(64, width=width, chunk=chunk)(q, k, v)
    expected = window_reference(q, k, v, width=width)
    torch.testing.assert_close(out, expected)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).double()
    got = torch.autograd.grad(out, (q, k, v), weights)
    torch.testing.assert_close(got, torch.autograd.grad(expected, (q, k, v), weights))


def test_the_window_reference_sees_neighbours_only():
    q, k, v = inputs(16)
    first = window_reference(q, k, v, width=2)
    v = v.detach().clone()
    v[:, :, 3:] = torch.nan  # row 0 sees tokens 0 to 2; a weight of 0 would still spread NaN
    assert torch.equal(first[:, :, 0], window_reference(q, k, v.nan_to_num(0), width=2)[:, :, 0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler imports modules that warn
def test_compiled_flex_attention_passes_the_gate():
    case = replace(BASE, length=128, head_dim=16, block_size=16, density=0.3, heads=2)
    result = check_subject("flex_forward", case, 0)
    assert result.reason is None
    assert result.errors.keys() == {"out", "out_budget"}
