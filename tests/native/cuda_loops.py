"""What the loops of the CUDA kernels may execute, and the table of what they do.

Rules on the machine code, which ``cuda_sass`` reads:

- a turn has exactly the tensor-core instructions, operand loads, copies and exponentials of its
  tiles, and reads nothing else from memory but the index of a block, with padding the padding and
  with dropout the kept bits: ``cuda_needs`` says how many
- of what the forward loop executes in 16 bits at D = 32 with blocks of 64, at least ``MIN_NEEDED``
  is work that no such kernel can do without

and for all: tiles are filled by 16-byte copies that bypass L1, results leave in 16-byte stores, and
up to D = 64 nothing lives in local memory. Counts of the fused kernels' loops without dropout and
padding are compared with ``csrc/cuda/resources.toml`` too, and growth is noticed.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path

from tests.native.cuda_needs import KINDS, Needs, StepLoop, needed_loops
from tests.native.cuda_resources import ROW_WISE, TABLE, Kernel, compare, kernel_of, table_row
from tests.native.cuda_sass import Function, around, count, outermost_with, total

FUSED = ("forward", "backward")
MIN_NEEDED = 0.75
JUDGED = ("sm_80", "sm_90")  # sm_100 has packed float32 arithmetic, which needs fewer instructions
MAX_GROWTH = 1.05  # of a loop's instructions
COPY = "LDGSTS.E.BYPASS.128"


@dataclass(frozen=True)
class Code:
    """What is known of one kernel's machine code: its step loops, and all of it by name."""

    loops: tuple[StepLoop, ...]
    names: Counter[str]


Codes = dict[str, dict[Kernel, Code]]  # by architecture
Loops = dict[str, dict[Kernel, tuple[StepLoop, ...]]]


def read_code(function: Function, works_with: str = "HMMA") -> Code:
    """Count a kernel's instructions; a step loop is an outermost loop that has an opcode."""
    loops = []
    for loop in outermost_with(function, works_with):
        names = count(function, loop.body)
        kinds = (total(names, name) for name in ("HMMA", "LDSM", "LDGSTS", "MUFU.EX2", "LDG"))
        loops.append(StepLoop(names.total(), *kinds, around(function, loop)))
    return Code(tuple(sorted(loops, key=lambda loop: loop.hmma)), count(function))


def codes_of(functions: list[Function]) -> dict[Kernel, Code]:
    """Return the code of those functions that there are rules for."""
    kernels = {kernel_of(function.symbol): function for function in functions}
    return {
        kernel: read_code(function, "LDG" if kernel.kind in ROW_WISE else "HMMA")
        for kernel, function in kernels.items()
        if kernel.kind in KINDS
    }


def is_plain(kernel: Kernel) -> bool:
    return not kernel.padded and not kernel.dropout


def loops_of(codes: Codes) -> Loops:
    """Return what the table holds: the fused kernels' loops without dropout and padding."""
    return {
        arch: {
            kernel: code.loops
            for kernel, code in kernels.items()
            if kernel.kind in FUSED and is_plain(kernel)
        }
        for arch, kernels in codes.items()
    }


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
    arithmetic *= Needs(kernel).tiles
    needed = loop.hmma + loop.ldsm + loop.ldgsts + arithmetic + 3
    return needed / loop.instructions


def per_1024_scores(kernel: Kernel, loops: tuple[StepLoop, ...], blocks: int, kept: int) -> float:
    """Return how many instructions the warps execute at most for 1024 scores.

    Of a pattern with ``blocks`` block rows (and columns) and ``kept`` blocks, ``kernel.rows`` wide.
    """
    warps = kernel.rows // 16 // Needs(kernel).tiles
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
    expected = {COPY: total(names, "LDGSTS"), **Needs(kernel).stores()}
    checked = ("LDGSTS", "STG", *(("LDL", "STL") if kernel.width <= 64 else ()))
    found = {name: n for name, n in names.items() if total(Counter([name]), *checked)}
    return [
        f"{found.get(name, 0)} {name}, needed {expected.get(name, 0)}"
        for name in sorted(expected.keys() | found.keys())
        if found.get(name, 0) != expected.get(name, 0)
    ]


def bad_loops(arch: str, kernel: Kernel, loops: tuple[StepLoop, ...]) -> list[str]:
    """Return where a turn executes anything else than it needs."""
    needed = needed_loops(kernel)
    counts = tuple(replace(loop, instructions=0, around=0) for loop in loops)
    is_as_needed = len(counts) == len(needed) and all(
        found in allowed for found, allowed in zip(counts, needed, strict=True)
    )
    if not is_as_needed:
        wanted = " and ".join(
            " or ".join(describe((loop,)) for loop in sorted(allowed, key=astuple))
            for allowed in needed
        )
        return [f"a step has {describe(counts)}, needed {wanted}"]
    is_judged = is_plain(kernel) and Needs(kernel).is_half and arch in JUDGED
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
