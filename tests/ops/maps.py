"""Attention maps, and what every operator on them is held to."""

import pytest
import torch

from spion_bench.native import library
from spion_bench.ops import attention_map, reference
from tests.budgets import assert_within_budget


def random_map(length: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.rand(length, length, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def check_threads(operator, *arguments):
    """Check that an operator gives the same bits with one, two and three threads."""
    threads = torch.get_num_threads()
    results = []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            results.append(operator(*arguments))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def check_registration(operator, *arguments):
    """Check the Python half of an operator on maps: no gradient, opcheck of types and layouts."""
    library.load()
    op = getattr(torch.ops.spion_bench, operator.__name__).default
    assert not operator(random_map(32).requires_grad_(), arguments[0]).requires_grad
    for dtype in (torch.float32, torch.float64):
        for layout, argument in zip((torch.clone, torch.t), arguments, strict=True):
            torch.library.opcheck(op, (layout(random_map(32, dtype)), argument))


def check_refused_argument(operator, name, value, expected):
    """Check that an operator on maps of length 8, and its native half, refuse an argument."""
    with pytest.raises(ValueError, match=f"{name}: expected {expected}, got {value}"):
        operator(torch.zeros(8, 8), value)
    library.load()
    with pytest.raises(RuntimeError, match=f"{name}: expected"):
        getattr(torch.ops.spion_bench, operator.__name__)(torch.zeros(8, 8), value)


def check_refused_maps(operator, argument):
    """Check that an operator says what is wrong with a map."""
    square = r"attention_map: expected a square \[L, L\] matrix, got "
    for refused, message in (
        (torch.zeros(4, 5), square + r"\[4, 5\]"),
        (torch.zeros(2, 4, 4), square + r"\[2, 4, 4\]"),
        (torch.zeros(0, 0), square + r"\[0, 0\]"),
        (torch.zeros(4, 4, dtype=torch.float16), "expected float32 or float64, got float16"),
        (torch.zeros(4, 4, dtype=torch.int64), "expected float32 or float64, got int64"),
        (torch.zeros(4, 4, device="meta"), "expected a CPU or CUDA tensor, got one on meta"),
    ):
        with pytest.raises(ValueError, match=message):
            operator(refused, argument)
    library.load()
    with pytest.raises(RuntimeError, match="attention_map: expected a square"):
        getattr(torch.ops.spion_bench, operator.__name__)(torch.zeros(4, 5), argument)


def compare_map(q, k, **options):
    """Return the attention map of q and k, checked against the float64 oracle."""
    got = attention_map(q, k, **options)
    expected = [
        reference.attention_map(q.to(d), k.to(d), **options) for d in (q.dtype, torch.float64)
    ]
    assert_within_budget("map", got, *expected)
    return got
