"""What a turn of a CUDA kernel's loop needs, from the tiles that the kernel works on.

Counts of one warp: tensor-core instructions (``hmma``), loads of their operands (``ldsm``), copies
to shared memory (``ldgsts``), exponentials and reads of global memory. ``cuda_loops`` compares them
with what nvcc made of the kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from tests.native.cuda_resources import ROW_WISE, Kernel

HALF = ("F16", "BF16")
LEFT_BYTES = {"F16": 16, "BF16": 16, "TF32": 20, "TF32x3": 32}  # of a left operand's step: Math::A
UNROLLED = 4  # steps of a product whose left operands are read where they are used
ROW_KEYS = 8  # of a lane of the row-wise kernels


@dataclass(frozen=True)
class StepLoop:
    """Instructions in a loop over steps, those of an inner loop or a branch counted once.

    ``around``: of the longest way to the loop and from it to the kernel's end.
    """

    instructions: int
    hmma: int
    ldsm: int
    ldgsts: int
    ex2: int
    ldg: int
    around: int = 0


@dataclass(frozen=True)
class Needs:
    """What depends on a kernel alone: see the constants of the same meaning in ``csrc/cuda``."""

    kernel: Kernel

    @property
    def is_half(self) -> bool:
        return self.kernel.precision in HALF

    @property
    def size(self) -> int:
        """Bytes of a stored value."""
        return 2 if self.is_half else 4

    @property
    def tiles(self) -> int:
        """Tiles of 16 rows that a warp owns: ``kForwardTiles``, ``kBackwardTiles``."""
        kind = self.kernel.kind
        may_have_two = kind == "forward" or (kind == "backward" and not self.is_half)
        has_two = may_have_two and self.kernel.width == 32 and self.kernel.rows >= 32
        return 2 if has_two and not self.kernel.dropout else 1

    @property
    def threads(self) -> int:
        return self.kernel.rows * 2 // self.tiles

    @property
    def is_wide(self) -> bool:
        """Whether float32 tiles of 128 columns take so much memory that steps are smaller."""
        return self.kernel.width * self.size > 256

    @property
    def step_columns(self) -> int:
        """Rows of the streamed tensors in a step: ``kStepKeys``."""
        return 32 if self.is_wide and self.kernel.rows > 32 else self.kernel.rows

    @property
    def columns(self) -> int:
        """Score columns that are in registers at a time: ``kScoreCols`` in the backward kernel."""
        if self.kernel.kind == "backward":
            return min(self.step_columns, 16 if self.is_wide else 32)
        return self.step_columns

    def copies(self, rows: int, columns: int) -> int:
        """Copies of a thread that fill a tile."""
        return rows * columns * self.size // 16 // self.threads

    def transposed_product(self) -> Iterator[tuple[int, int]]:
        """Yield what a product with a streamed tile, transposed, may count: (hmma, ldsm).

        Left operands that do not stay in registers are read in every step of the product, and the
        compiler may make a loop of the steps, ``UNROLLED`` at a time.
        """
        steps = self.kernel.width // (16 if self.is_half else 8)
        kept = 64 if self.kernel.kind == "backward" else 128  # bytes of left operands
        is_resident = LEFT_BYTES[self.kernel.precision] * steps <= kept
        groups = self.columns // 8
        for turns in {steps} if is_resident else {steps, min(steps, UNROLLED)}:
            again = 0 if is_resident else self.tiles
            yield turns * self.multiplied(groups), turns * (groups // 2 + again)

    def stores(self) -> dict[str, int]:
        """Stores to global memory by name: a warp's results, and what a lane knows of its rows."""
        kernel = self.kernel
        if kernel.kind in ROW_WISE:
            lse = {"STG.E": 1} if kernel.kind == "softmax" else {}
            return {"STG.E.128": ROW_KEYS * self.size // 16, **lse}
        # A tile of results leaves 512 bytes at a time. Scores lie in rows of at least 64 bytes.
        width = max(self.columns, 64 // self.size) if kernel.kind == "sddmm" else kernel.width
        tensors = 3 if kernel.kind == "backward" else 1  # dq, dk and dv
        stores = {"STG.E.128": self.tiles * tensors * width * self.size // 32}
        if kernel.kind == "forward":
            stores["STG.E"] = self.tiles * 2  # the log-sum-exp
        if kernel.kind == "backward":
            stores["STG.E.64"] = self.tiles * kernel.width // 2  # of a piece of a long column
        return stores

    def rows_product(self) -> tuple[int, int]:
        """Return what P V counts; float32 takes its right operands by plain loads."""
        groups = self.kernel.width // 8
        steps = self.columns // (16 if self.is_half else 8)
        return steps * self.multiplied(groups), steps * groups // 2 if self.is_half else 0

    def multiplied(self, groups: int) -> int:
        """Tensor-core instructions that multiply one left operand with ``groups`` right ones."""
        return self.tiles * groups * (3 if self.kernel.precision == "TF32x3" else 1)


def needed_loops(kernel: Kernel) -> tuple[frozenset[StepLoop], ...]:
    """Return for each loop of a kernel the counts it may have; ``instructions`` are left at 0.

    Kernels that reach further are those with dropout: what they test for besides reads nothing.
    """
    return KINDS[kernel.kind](Needs(kernel))


def _forward(needs: Needs) -> tuple[frozenset[StepLoop], ...]:
    """S = Q K^T, P V; K and V are copied. A lane reads the padding of a key, 32 at a time."""
    kernel = needs.kernel
    masks = max(needs.columns // 32, 1) if kernel.padded or kernel.dropout else 0
    ex2 = needs.tiles * (needs.columns // 2 + 2)
    copies = 2 * needs.copies(needs.step_columns, kernel.width)
    return (_steps(needs, 1, 1, copies, ex2, 1 + masks),)


def _backward(needs: Needs) -> tuple[frozenset[StepLoop], ...]:
    """S, dP and dq over rows, which look at the padding; S, dP, dk and dv over columns.

    Columns copy the rows' statistics as well. With dropout a lane reads a word of kept bits for
    each of its two rows, or for each of its columns, whose tile's place is read first.
    """
    kernel, columns = needs.kernel, needs.columns
    masks = max(columns // 32, 1)
    bits = (2, 1 + columns // 4) if kernel.dropout else (0, 0)
    copies = 2 * needs.copies(needs.step_columns, kernel.width)
    ex2 = needs.tiles * columns // 2
    return (
        _steps(needs, 2, 1, copies, ex2, 1 + masks + bits[0]),
        _steps(needs, 2, 2, copies + 1, ex2, 1 + bits[1]),
    )


def _sddmm(needs: Needs) -> tuple[frozenset[StepLoop], ...]:
    return (_steps(needs, 1, 0, needs.copies(needs.step_columns, needs.kernel.width), 0, 1),)


def _spmm(needs: Needs) -> tuple[frozenset[StepLoop], ...]:
    """P is copied besides V, in rows of at least 64 bytes; 16 bits load it as left operands.

    The transposed one reads the place of its tile. float32 reads P by plain loads, in a loop that
    the compiler may unroll.
    """
    kernel = needs.kernel
    is_transposed = kernel.kind == "spmm_transposed"
    rows, columns = kernel.rows, needs.step_columns
    if is_transposed:
        rows, columns = columns, rows
    copies = needs.copies(needs.step_columns, kernel.width)
    copies += needs.copies(rows, max(columns, 64 // needs.size))
    hmma, ldsm = needs.rows_product()
    steps = needs.columns // (16 if needs.is_half else 8)
    counts = (
        {(hmma, ldsm + steps)}
        if needs.is_half
        else {(hmma // steps * turns, 0) for turns in {steps, min(steps, UNROLLED)}}
    )
    return (frozenset(StepLoop(0, *count, copies, 0, 1 + is_transposed) for count in counts),)


def _row_wise(needs: Needs) -> tuple[frozenset[StepLoop], ...]:
    """Return the walks over a row's tiles: the second of softmax reads scores and padding again."""
    loads = ROW_KEYS * needs.size // 16
    if needs.kernel.kind == "softmax":
        read = 1 + loads + max(needs.kernel.rows // 32, 1)
        return (_exactly(ex2=ROW_KEYS + 1, ldg=read), _exactly(ex2=ROW_KEYS, ldg=read))
    if needs.kernel.kind == "softmax_backward":
        return (_exactly(ldg=2 * loads),) * 2
    return (_exactly(ldg=1 + loads),)


def _exactly(ex2: int = 0, ldg: int = 0) -> frozenset[StepLoop]:
    return frozenset({StepLoop(0, 0, 0, 0, ex2, ldg)})


def _steps(
    needs: Needs, transposed: int, rows: int, ldgsts: int, ex2: int, ldg: int
) -> frozenset[StepLoop]:
    """Return what a step with so many products of either kind may count."""
    fixed = [needs.rows_product()] * rows
    found = set()
    for chosen in product(*[tuple(needs.transposed_product())] * transposed):
        hmma, ldsm = (sum(counts) for counts in zip(*chosen, *fixed, strict=True))
        found.add(StepLoop(0, hmma, ldsm, ldgsts, ex2, ldg))
    return frozenset(found)


KINDS = {
    **dict.fromkeys(sorted(ROW_WISE), _row_wise),
    "forward": _forward,
    "backward": _backward,
    "sddmm": _sddmm,
    "spmm": _spmm,
    "spmm_transposed": _spmm,
}
