"""Tensors whose parts lie more than 2^31 values apart; memory that is never touched takes none."""

import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.ops import block_attention

pytestmark = pytest.mark.usefixtures("emulated_backend")


@pytest.mark.parametrize("implementation", ["fused", "pipeline"])
def test_batch_items_more_than_2_to_the_31_values_apart(implementation):
    pattern = BlockPattern.full(32, 16)
    memory = torch.empty(2**31 + 3 * 32 * 32, dtype=torch.float16)
    near = torch.randn(3, 2, 1, 32, 32).half()
    far = [memory[i * 1024 :].as_strided((2, 1, 32, 32), (2**31, 1024, 32, 1)) for i in range(3)]
    for to, x in zip(far, near, strict=True):
        to.copy_(x)
    dout = torch.randn(2, 1, 32, 32).half()
    results = []
    for qkv in (near.unbind(), far):
        leaves = [x.detach().requires_grad_() for x in qkv]
        out = block_attention(*leaves, pattern, pruned="minus_inf", implementation=implementation)
        results.append([out, *torch.autograd.grad(out, leaves, dout)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
