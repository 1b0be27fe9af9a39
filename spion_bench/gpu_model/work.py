"""What each launch of dense, pipeline and fused attention does: operations, bytes, instructions.

Counts of the algorithms, not of a run. T is one tensor ``[B, H, L, D]`` in bytes, S the kept scores
of all heads in bytes. Bytes of the device memory (HBM) are compulsory: whatever a launch reads or
writes moves once, and everything read again is found in the second cache (L2), whose traffic is
counted apart: there a tile moves every time that a thread block asks for it. Not counted: pattern
lists (kilobytes), padding masks, dropout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spion_bench.gpu_model.devices import Precision
from spion_bench.records import KernelShape

DENSE_TILE = 128
"""Rows and columns of a tile of FlashAttention-2 at D = 32, forward and backward (its source)."""

ROWS_PER_WARP = 16


def check_shape(shape: KernelShape) -> None:
    """Raise ValueError unless the shape has whole blocks, and states how many are kept."""
    if shape.length % shape.block_size:
        raise ValueError(
            f"length: expected a multiple of block_size {shape.block_size}, got {shape.length}"
        )
    if shape.n_blocks is None or not 0 <= shape.n_blocks <= shape.nb**2:
        raise ValueError(f"n_blocks: expected 0 to {shape.nb**2}, got {shape.n_blocks}")


def mean_kept(shape: KernelShape) -> float:
    """Return the kept blocks per block row, and per block column."""
    return kept_blocks(shape) / shape.nb


def kept_blocks(shape: KernelShape) -> int:
    """Return the kept blocks of the pattern, which all heads share."""
    assert shape.n_blocks is not None, "checked by check_shape"
    return shape.n_blocks


def query_rows(shape: KernelShape) -> int:
    """Return the query rows of all heads, ``B * H * L``."""
    return shape.batch * shape.heads * shape.length


def kept_scores(shape: KernelShape) -> int:
    """Return the scores in kept blocks, all heads."""
    return shape.batch * shape.heads * kept_blocks(shape) * shape.block_size**2


def all_scores(shape: KernelShape) -> int:
    """Return the scores of dense attention, all heads."""
    return query_rows(shape) * shape.length


@dataclass(frozen=True)
class Launch:
    """The work of one launch, or of ``count`` launches that are counted together.

    Attributes:
        name: What it computes.
        flops: Floating-point operations of its products, each counted once.
        hbm_bytes: Compulsory bytes from and to the device memory.
        l2_bytes: Bytes between the second cache and the SMs.
        exps: Exponentials.
        instructions: Warp instructions; 0 if no count is known.
        dense_scores: Scores whose time is taken from published rates of dense attention.
        count: Launches.
    """

    name: str
    flops: float
    hbm_bytes: float
    l2_bytes: float
    exps: float = 0.0
    instructions: float = 0.0
    dense_scores: int = 0
    count: int = 1


@dataclass(frozen=True)
class WarpCount:
    """Instructions of a warp: per kept block, outside that loop, and tensor-core ones per block."""

    loop: int
    rest: int
    mma: int

    def of(self, shape: KernelShape, precision: Precision) -> float:
        """Return the instructions of all warps; float32 adds tensor-core ones, and only those."""
        loop = self.loop + self.mma * (precision.mma_per_half_mma - 1)
        return query_rows(shape) / ROWS_PER_WARP * (self.rest + mean_kept(shape) * loop)


# Counted in the machine code (sm_80, 16-bit, D = 32) of a design prototype of the fused kernels,
# which this project's kernels follow but are not: (part, block size).
WARP_COUNTS = {
    ("forward", 32): WarpCount(252, 354, 16),
    ("forward", 64): WarpCount(345, 348, 32),
    ("dq", 32): WarpCount(173, 351, 24),
    ("dq", 64): WarpCount(308, 341, 48),
    ("dkv", 32): WarpCount(255, 304, 32),
    ("dkv", 64): WarpCount(408, 310, 64),
}


def _instructions(part: str, shape: KernelShape, precision: Precision) -> float:
    count = WARP_COUNTS.get((part, shape.block_size)) if shape.head_dim == 32 else None
    return count.of(shape, precision) if count else 0.0


def _tensor(shape: KernelShape, precision: Precision) -> int:
    return query_rows(shape) * shape.head_dim * precision.element_bytes


def _dense_forward(shape: KernelShape, precision: Precision) -> tuple[Launch, ...]:
    t, row_floats = _tensor(shape, precision), 4 * query_rows(shape)
    sweeps = shape.length / DENSE_TILE  # how often k and v are read
    return (
        Launch(
            "attention",
            flops=4 * shape.head_dim * all_scores(shape),
            hbm_bytes=4 * t + row_floats,
            l2_bytes=2 * t + 2 * t * sweeps + row_floats,
            exps=all_scores(shape),
            dense_scores=all_scores(shape),
        ),
    )


def _dense_backward(shape: KernelShape, precision: Precision) -> tuple[Launch, ...]:
    """FlashAttention-2: delta; the gradients, dq by atomics into float32; dq converted."""
    t, row_floats = _tensor(shape, precision), 4 * query_rows(shape)
    dq_sums = 4 * query_rows(shape) * shape.head_dim
    sweeps = shape.length / DENSE_TILE  # how often q and dout are read and dq is added to
    delta = 2 * t + row_floats
    convert = dq_sums + t
    return (
        Launch(
            "delta, gradients, conversion of dq",
            flops=10 * shape.head_dim * all_scores(shape),
            hbm_bytes=delta + 6 * t + dq_sums + 2 * row_floats + convert,
            l2_bytes=delta + 4 * t + sweeps * (2 * t + dq_sums + 2 * row_floats) + convert,
            exps=all_scores(shape),
            dense_scores=all_scores(shape),
            count=3,
        ),
    )


def _fused_forward(shape: KernelShape, precision: Precision) -> tuple[Launch, ...]:
    t, row_floats = _tensor(shape, precision), 4 * query_rows(shape)
    return (
        Launch(
            "attention",
            flops=4 * shape.head_dim * kept_scores(shape),
            hbm_bytes=4 * t + row_floats,
            l2_bytes=2 * t + 2 * t * mean_kept(shape) + row_floats,
            exps=kept_scores(shape),
            instructions=_instructions("forward", shape, precision),
        ),
    )


def _fused_backward(shape: KernelShape, precision: Precision) -> tuple[Launch, ...]:
    """Statistics of rows, then dq by rows and dk, dv by columns in one launch: 7 products."""
    t, row_floats = _tensor(shape, precision), 4 * query_rows(shape)
    stats = 2 * row_floats
    by_rows = _instructions("dq", shape, precision)
    by_columns = _instructions("dkv", shape, precision)
    return (
        Launch("row statistics", 0, 2 * t + row_floats + stats, 2 * t + row_floats + stats),
        Launch(
            "gradients",
            flops=14 * shape.head_dim * kept_scores(shape),
            hbm_bytes=7 * t + stats,
            l2_bytes=7 * t + 4 * t * mean_kept(shape) + stats * (1 + mean_kept(shape)),
            exps=2 * kept_scores(shape),
            instructions=by_rows + by_columns,
        ),
    )


def _product(name: str, shape: KernelShape, precision: Precision) -> Launch:
    """Block SDDMM or SpMM: one tensor by rows, one by kept blocks, the scores in between.

    An SDDMM reads both and writes the scores; an SpMM reads the scores and one tensor and writes
    the other.
    """
    t, s = _tensor(shape, precision), kept_scores(shape) * precision.element_bytes
    return Launch(
        name,
        flops=2 * shape.head_dim * kept_scores(shape),
        hbm_bytes=2 * t + s,
        l2_bytes=t + t * mean_kept(shape) + s,
    )


def _pipeline_forward(shape: KernelShape, precision: Precision) -> tuple[Launch, ...]:
    """SDDMM, softmax in two walks over its input, SpMM."""
    s, row_floats = kept_scores(shape) * precision.element_bytes, 4 * query_rows(shape)
    softmax = Launch(
        "softmax", 0, 2 * s + row_floats, 3 * s + row_floats, exps=2 * kept_scores(shape)
    )
    return (
        _product("scores", shape, precision),
        softmax,
        _product("out", shape, precision),
    )


def _pipeline_backward(shape: KernelShape, precision: Precision) -> tuple[Launch, ...]:
    """SDDMM for the gradient of P, softmax backward, three SpMM."""
    s = kept_scores(shape) * precision.element_bytes
    return (
        _product("dprobs", shape, precision),
        Launch("softmax backward", 0, 3 * s, 5 * s),
        *(_product(name, shape, precision) for name in ("dq", "dk", "dv")),
    )


WORK: dict[tuple[str, str], Callable[[KernelShape, Precision], tuple[Launch, ...]]] = {
    ("dense_sdpa", "forward"): _dense_forward,
    ("dense_sdpa", "backward"): _dense_backward,
    ("pipeline", "forward"): _pipeline_forward,
    ("pipeline", "backward"): _pipeline_backward,
    ("block_attention", "forward"): _fused_forward,
    ("block_attention", "backward"): _fused_backward,
}
"""(method, pass) -> its launches; methods as the kernel cases name their implementations."""
