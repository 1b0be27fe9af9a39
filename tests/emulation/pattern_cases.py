"""What the pattern operators' CUDA sources are tested on, and how their bits are compared."""

import torch

from spion_bench.native import use_backend

DTYPES = [torch.float32, torch.float64]
SELECTIONS = ["walk", "connected"]
# Layouts of a matrix that are not contiguous: transposed, every other value, one value for all.
STRIDED = [lambda x: x.T, lambda x: x[::2, ::2], lambda x: x[:1, :1].expand(x.shape)]


def on_cpu(operator, *args, **options):
    with use_backend("cpu"):
        return operator(*args, **options)


def assert_same_bits(operator, *args, **options):
    got = operator(*args, **options)
    expected = on_cpu(operator, *args, **options)
    assert got.dtype == expected.dtype
    torch.testing.assert_close(got, expected, rtol=0, atol=0, equal_nan=True)


def random(length, dtype=torch.float64, seed=0):
    return torch.rand(length, length, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def many(shape, dtype=torch.float32):
    """Return zeros of any size in no memory."""
    return torch.zeros((), dtype=dtype).expand(shape)
