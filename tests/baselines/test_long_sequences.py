"""The suite's own sparse methods at published lengths: they train, without ``[L, L]`` numbers."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from spion_bench.passes.attention import attention_maker
from spion_bench.suite.methods import METHODS
from spion_bench.tasks import load_config

SPION = load_config("listops").spion
TILED = (
    "bigbird",
    "reformer",
    "sparse_transformer@strided",
    "sparse_transformer@fixed",
    "spion+window_block",
    "spion+longformer_block",
    "spion+bigbird_block",
    "spion+strided",
    "spion+fixed",
)
WINDOWS = (
    "sliding_window",
    "sliding_window@matched",
    "longformer",
    "longformer@matched",
)
# The [L, L] scores of a head are 32, 64 and 128 times q here. A tile of scores is at most 4 times
# q, the scores of all windows of 512 tokens 18 times.
LARGEST = dict.fromkeys(TILED, 8) | dict.fromkeys(WINDOWS, 20)


class LargestTensor(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        sizes = [x.numel() for x in tree_leaves(result) if isinstance(x, torch.Tensor)]
        self.elements = max([self.elements, *sizes])
        return result


def step(name, length):
    """Do one forward and backward pass; return the largest tensor in multiples of q."""
    attention = attention_maker(METHODS[name].info(SPION, length), SPION)(1)
    q, k, v = (torch.randn(1, 2, length, 32, requires_grad=True) for _ in "qkv")
    mask = torch.arange(length)[None] < length - 100
    with LargestTensor() as largest:
        out = attention(q, k, v, mask)
        grads = torch.autograd.grad(out, (q, k, v), torch.ones_like(out))
    assert all(x.isfinite().all() for x in (out, *grads))
    return largest.elements / q.numel()


@pytest.mark.parametrize("name", LARGEST)
@pytest.mark.parametrize("length", [1024, 2048, 4096])
def test_no_tensor_is_as_large_as_the_scores(name, length):
    assert step(name, length) <= LARGEST[name]


def test_the_measure_sees_a_dense_matrix():
    assert step("dense_eager", 1024) >= 1024 / 32
