"""What the step loops of the fused attention kernels may execute, and the table of what they do.

Rules on the machine code, which ``cuda_sass`` reads:

- a step has exactly the tensor-core instructions, operand loads, copies and exponentials of its
  tiles, and reads nothing else from memory but the index of a block, with padding the padding and
  with dropout the kept bits; see ``needed_loops`` for the kernels whose count is stated
- of what the forward loop executes in 16 bits at D = 32 with blocks of 64, at least ``MIN_NEEDED``
  is work that no such kernel can do without

and for all: tiles are filled by 16-byte copies that bypass L1, results leave in 16-byte stores, and
up to D = 64 nothing lives in local memory. Counts of the loops without dropout and padding are
compared with ``csrc/cuda/resources.toml`` too, and growth is noticed.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path

from tests.native.cuda_resources import TABLE, Kernel, compare, table_row
from tests.native.cuda_sass import Function, around, count, outermost_with, total

FUSED = ("forward", "backward")
HALF = ("F16", "BF16")
MIN_NEEDED = 0.75
JUDGED = ("sm_80", "sm_90")  # sm_100 has packed float32 arithmetic, which needs fewer instructions
MAX_GROWTH = 1.05  # of a loop's instructions
COPY = "LDGSTS.E.BYPASS.128"


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
class Code:
    """What is known of one kernel's machine code: its step loops, and all of it by name."""

    loops: tuple[StepLoop, ...]
    names: Counter[str]


Codes = dict[str, dict[Kernel, Code]]  # by architecture
Loops = dict[str, dict[Kernel, tuple[StepLoop, ...]]]


def read_code(function: Function) -> Code:
    """Count a kernel's instructions; a step loop is an outermost loop with tensor-core work."""
    loops = []
    for loop in outermost_with(function, "HMMA"):
        names = count(function, loop.body)
        kinds = (total(names, name) for name in ("HMMA", "LDSM", "LDGSTS", "MUFU.EX2", "LDG"))
        loops.append(StepLoop(names.total(), *kinds, around(function, loop)))
    return Code(tuple(sorted(loops, key=lambda loop: loop.hmma)), count(function))


def is_plain(kernel: Kernel) -> bool:
    return not kernel.padded and not kernel.dropout


def loops_of(codes: Codes) -> Loops:
    """Return what the table holds: the loops of the kernels without dropout and padding."""
    return {
        arch: {kernel: code.loops for kernel, code in kernels.items() if is_plain(kernel)}
        for arch, kernels in codes.items()
    }


def row_tiles(kernel: Kernel) -> int:
    """Return how many tiles of 16 rows a warp owns: ``kForwardTiles``, ``kBackwardTiles``."""
    may_have_two = kernel.kind == "forward" or kernel.precision not in HALF
    has_two = may_have_two and kernel.width == 32 and kernel.rows >= 32
    return 2 if has_two and not kernel.dropout else 1


def needed_loops(kernel: Kernel) -> tuple[StepLoop, ...] | None:
    """Return what a kernel's tiles need, ``instructions`` left at 0; None: not stated.

    A warp has 16 or 32 of the tile's rows (``row_tiles``) and sees all columns, backward 32 at a
    time. With 32, right operands are loaded once for both halves. The loop over rows
    of the backward kernel makes three products (S, dP, dq) and looks at the padding where there is
    some; that over columns makes four (S, dP, dk, dv) and copies the rows' statistics as well.
    Dropout is drawn in registers forward; backward a lane reads a word of kept bits for each of its
    two rows, or for each of its columns, whose tile's place is read first. Left operands that do
    not stay in registers are read again in loops of their own, and not stated: D = 128 backward,
    float32 from D = 64 on; and kernels that reach further, which branch as they need.
    """
    is_half = kernel.precision in HALF
    is_wide = kernel.width > (32 if not is_half else 128 if kernel.kind == "forward" else 64)
    if is_wide or kernel.reaches:
        return None
    columns = kernel.rows if kernel.kind == "forward" else min(kernel.rows, 32)
    tiles = row_tiles(kernel)
    masks = max(columns // 32, 1)  # a lane reads the padding of a key, 32 at a time
    # Two right operands come with one load, but float32 loads those of P V by plain loads.
    products = columns // 8 * (kernel.width // (16 if is_half else 8))
    loads = products // 2
    multiplied = products * (3 if kernel.precision == "TF32x3" else 1)
    copies = tiles * kernel.width * (2 if is_half else 4) // 16
    if kernel.kind == "forward":
        ldsm, has_mask = (2 if is_half else 1) * loads, kernel.padded or kernel.dropout
        ldg = 1 + (masks if has_mask else 0)
        ex2 = tiles * (columns // 2 + 2)
        return (StepLoop(0, tiles * 2 * multiplied, ldsm, copies, ex2, ldg),)
    again = 0 if is_half else tiles * 2 * (kernel.width // 8)  # of both left operands
    by_rows, by_columns = (3, 4) if is_half else (2, 2)
    bits = (2, 1 + columns // 4) if kernel.dropout else (0, 0)
    ex2, multiplied = tiles * columns // 2, tiles * multiplied
    return (
        StepLoop(0, 3 * multiplied, by_rows * loads + again, copies, ex2, 1 + masks + bits[0]),
        StepLoop(0, 4 * multiplied, by_columns * loads + again, copies + 1, ex2, 1 + bits[1]),
    )


def needed_share(kernel: Kernel, loop: StepLoop) -> float:
    """Return which share of a 16-bit forward step is needed.

    Per lane and step: a score takes a maximum, a fused multiply-add, an exponential, an addition
    and half a conversion. Each of a lane's two rows of a tile takes seven operations more: two
    shuffles and two maxima, a product, and a subtraction and an exponential for the factor of what
    was summed before, which each of the lane's D / 2 outputs is multiplied by. A barrier, and a
    commit and a wait for the copies.
    """
    scores = kernel.rows // 2
    arithmetic = 4 * scores + scores // 2 + 2 * 7 + kernel.width // 2
    arithmetic *= row_tiles(kernel)
    needed = loop.hmma + loop.ldsm + loop.ldgsts + arithmetic + 3
    return needed / loop.instructions


def per_1024_scores(kernel: Kernel, loops: tuple[StepLoop, ...], blocks: int, kept: int) -> float:
    """Return how many instructions the warps execute at most for 1024 scores.

    Of a pattern with ``blocks`` block rows (and columns) and ``kept`` blocks, ``kernel.rows`` wide.
    """
    warps = kernel.rows // 16 // row_tiles(kernel)
    executed = sum(loop.instructions * kept + loop.around * blocks for loop in loops)
    return warps * executed * 1024 / (kept * kernel.rows**2)


def broken_rules(codes: Codes) -> list[str]:
    """Return what the machine code says against the rules above."""
    return [
        f"{arch} {kernel}: {problem}"
        for arch, kernels in codes.items()
        for kernel, code in kernels.items()
        for problem in (*bad_memory(kernel, code.names), *bad_loops(arch, kernel, code.loops))
    ]


def bad_memory(kernel: Kernel, names: Counter[str]) -> list[str]:
    """Return accesses to global and local memory that are not as wide as they have to be."""
    size = 2 if kernel.precision in HALF else 4
    tensors = 1 if kernel.kind == "forward" else 3  # out; dq, dk and dv
    tiles = row_tiles(kernel)
    expected = {
        COPY: total(names, "LDGSTS"),
        "STG.E.128": tiles * tensors * kernel.width * size // 32,
        # The log-sum-exp of a lane's two rows of a tile; dk and dv of a piece of a long column.
        **(
            {"STG.E": 2 * tiles}
            if kernel.kind == "forward"
            else {"STG.E.64": tiles * kernel.width // 2}
        ),
    }
    checked = ("LDGSTS", "STG", *(("LDL", "STL") if kernel.width <= 64 else ()))
    found = {name: n for name, n in names.items() if total(Counter([name]), *checked)}
    return [
        f"{found.get(name, 0)} {name}, needed {expected.get(name, 0)}"
        for name in sorted(expected.keys() | found.keys())
        if found.get(name, 0) != expected.get(name, 0)
    ]


def bad_loops(arch: str, kernel: Kernel, loops: tuple[StepLoop, ...]) -> list[str]:
    """Return where a step executes anything else than it needs."""
    needed = needed_loops(kernel)
    if needed is None:
        return []
    counts = tuple(replace(loop, instructions=0, around=0) for loop in loops)
    if counts != needed:
        return [f"a step has {describe(counts)}, needed {describe(needed)}"]
    is_judged = is_plain(kernel) and kernel.precision in HALF and arch in JUDGED
    if is_judged and kernel.kind == "forward" and (kernel.width, kernel.rows) == (32, 64):
        share = needed_share(kernel, loops[0])
        if share < MIN_NEEDED:
            return [
                f"{share:.2f} of the {loops[0].instructions} instructions of a step are needed, "
                f"expected {MIN_NEEDED}"
            ]
    return []


def describe(loops: tuple[StepLoop, ...]) -> str:
    """Return the counts of loops in words."""
    return " and ".join(
        ", ".join(
            f"{value} {name}"
            for name, value in asdict(loop).items()
            if name not in ("instructions", "around") or value
        )
        for loop in loops
    )


def regressions(found: Loops, committed: Loops) -> list[str]:
    """Return loops that grew or whose counts differ from the committed table."""
    problems, pairs = compare(found, committed)
    for name, now, before in pairs:
        counts = [[astuple(loop)[1:-1] for loop in loops] for loops in (now, before)]
        has_grown = any(
            a.instructions > MAX_GROWTH * b.instructions or a.around > MAX_GROWTH * b.around
            for a, b in zip(now, before, strict=False)
        )
        if has_grown or counts[0] != counts[1]:
            problems.append(f"{name}: {describe(before)} -> {describe(now)}")
    return problems


def read_table(path: Path = TABLE) -> Loops:
    """Read the committed table."""
    table: Loops = {}
    for row in tomllib.loads(path.read_text(encoding="utf-8")).get("loops", []):
        counts = row.pop("counts")
        for arch, loops in counts.items():
            kernel = Kernel(**row)
            table.setdefault(arch, {})[kernel] = tuple(StepLoop(*loop) for loop in loops)
    return table


def table_lines(table: Loops) -> list[str]:
    """Return a table as lines of TOML, one per kernel."""
    rows = []
    for kernel in sorted(set().union(*table.values())):
        by_arch = {arch: kernels[kernel] for arch, kernels in table.items() if kernel in kernels}
        counts = {arch: [list(astuple(loop)) for loop in by_arch[arch]] for arch in by_arch}
        rows.append(table_row(kernel, "counts", counts))
    names = ", ".join(field.name for field in fields(StepLoop))
    return [
        "# Instructions of each step loop of the fused kernels without padding and dropout,",
        "# around: of the longest way to the loop and from it to the end,",
        f"# [{names}]; backward: over rows, then over columns.",
        "loops = [",
        *rows,
        "]",
    ]
