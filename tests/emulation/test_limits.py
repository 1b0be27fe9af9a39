"""What the CUDA sources themselves refuse, without Python's checks: what the table says."""

import pytest
import torch

from spion_bench.kernel_limits import LIMITS

pytestmark = pytest.mark.usefixtures("emulated_backend")

CUDA = LIMITS["cuda"]
DTYPES = ["float16", "bfloat16", "float32", "float64"]


def no_blocks(q, block_size):
    """Return the indices of a pattern without a kept block."""
    begin = torch.zeros(q.shape[2] // block_size + 1, dtype=torch.int32)
    none = torch.zeros(0, dtype=torch.int32)
    return begin, none, begin, none, none, block_size


def attend(q, block_size):
    op = torch.ops.spion_bench_emulated.block_attention_forward
    op(q, q, q, *no_blocks(q, block_size), 1, False, False, None, 1.0, 0.0, 0)


def multiply(q, block_size):
    torch.ops.spion_bench_emulated.block_sddmm(q, q, *no_blocks(q, block_size), 1.0)


def average(q, block_size):
    torch.ops.spion_bench_emulated.attention_map(q, q, None, 1.0)


def check(is_taken, call, q, block_size=16):
    if is_taken:
        call(q, block_size)
        return
    with pytest.raises(RuntimeError, match="expected"):
        call(q, block_size)


@pytest.mark.parametrize("call", [attend, multiply])
@pytest.mark.parametrize("block_size", LIMITS["cpu"].block_sizes)
def test_block_sizes(call, block_size):
    check(block_size in CUDA.block_sizes, call, torch.zeros(1, 1, 128, 8), block_size)


@pytest.mark.parametrize("call", [attend, multiply, average])
@pytest.mark.parametrize("more", [0, 1])
def test_widths_and_batch_heads(call, more):
    check(more == 0, call, torch.zeros(1, 1, 128, CUDA.max_head_dim + more))
    # Little is computed for as many as there may be: one block that is not kept, a map of nothing.
    length = 0 if call is average else 16
    check(more == 0, call, torch.zeros(CUDA.max_batch_heads + more, 1, length, 8))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("call", "kernels"), [(attend, "fused"), (multiply, "pipeline"), (average, "map")]
)
def test_types(call, kernels, dtype):
    q = torch.zeros(1, 1, 128, 8, dtype=getattr(torch, dtype))
    check(dtype in CUDA.dtypes[kernels], call, q)
