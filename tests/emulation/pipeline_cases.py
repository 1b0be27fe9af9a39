"""What the pipeline's CUDA sources are tested on, and how they are run on the emulator."""

import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.native import library
from tests.budgets import assert_within_budget
from tests.ops.cases import Case, as_expanded, as_packed_slice, as_strided_views, holes
from tests.ops.cases import random_pattern as random

DTYPES = [torch.float16, torch.bfloat16, torch.float32]
# Block sizes and head widths for which kernels are compiled.
INSTANTIATIONS = [
    pytest.param(block, width, id=f"S{block}-D{width}")
    for block in (16, 32, 64, 128)
    for width in (32, 64, 128)
]

# Every block size, head width and code path, not every combination of them.
CASES = {
    "block_16": Case(random(5, 16, 0.5), width=32),  # 80 rows: the last warps of a group have none
    "block_32": Case(random(3, 32, 0.4), heads=1, width=32, layout=as_strided_views),
    "block_64": Case(random(3, 64, 0.3), heads=1, width=32, layout=as_packed_slice),
    "block_128": Case(random(2, 128, 0.4), heads=1, width=32),  # two tiles by two steps
    "wide_64": Case(random(2, 64, 0.5), batch=1, heads=1, width=128),  # float32: half steps
    "width_64": Case(random(3, 32, 0.4), heads=1, width=64),
    "width_128": Case(random(3, 16, 0.4), heads=1, width=128),
    "width_5": Case(random(3, 16, 0.4), width=5),  # padded by a copy
    "width_40": Case(random(3, 16, 0.4), heads=3, width=40),  # padded in shared memory
    "holes": Case(holes(5, 16), width=32),  # an empty row and an empty column
    "empty": Case(BlockPattern.from_mask(torch.zeros(2, 2), 16), width=32),
    "full": Case(BlockPattern.full(96, 16), heads=1, width=32),  # nothing pruned
    "expanded": Case(random(3, 16, 0.4), width=32, layout=as_expanded),
    "no_batch": Case(random(3, 16, 0.5), batch=0, width=32),
}


def emulated(function, *args, **options):
    """Run a Python face on the emulator."""
    with library.use_backend("emulated"):
        return function(*args, **options)


def random_tiles(case, dtype, scale=1.0):
    size = case.pattern.block_size
    shape = (case.batch, case.heads, case.pattern.nnzb, size, size)
    return (scale * torch.randn(shape)).to(dtype)


def shifted(x):
    """Return the same values one element further on in memory."""
    return torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape)


def operators():
    """Return the emulated operators without their Python faces."""
    library.EMULATED.load()
    return torch.ops.spion_bench_emulated


def check(name, got, op, *args, **options):
    """Compare ``got`` with an operator of ``reference``, run in its own dtype and in float64."""
    dtype = got.dtype
    low, exact = (
        op(*[x.to(d) if x.is_floating_point() else x for x in args], **options)
        for d in (args[0].dtype, torch.float64)
    )
    assert_within_budget(name, got, low.to(dtype), exact)
