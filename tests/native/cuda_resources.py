"""The registers and spilled bytes of the CUDA kernels: ptxas' report, its rules and its table.

``cuda_build`` compiles the kernels and compares them with ``csrc/cuda/resources.toml``.
Rules, in addition to that table:

- nothing spills up to D = 64, and at most ``MAX_SPILL`` bytes at D = 128
- the tuned forward shapes (16-bit, D = 32, blocks of 32 and 64) leave room for 20 tiles of 16 rows
  on an SM
- a kernel may not need ``MAX_GROWTH`` registers more than the table says
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

CUDA = Path(__file__).resolve().parents[2] / "csrc" / "cuda"
TABLE = CUDA / "resources.toml"
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
MAX_SPILL = 104
MAX_GROWTH = 8
MIN_TILES = 20

PRECISIONS = {
    ("Half", "0"): "F16",
    ("Half", "1"): "BF16",
    ("Single", "0"): "TF32",
    ("Single", "1"): "TF32x3",
    ("f", None): "F32",
    ("d", None): "F64",
}
ROW_WISE = {"softmax", "softmax_backward", "dropout"}  # their one number is the block size
ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\S+)' for '(?P<arch>\w+?)a?'\n"
    r"(?:.*\n)*?.*?(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*\n"
    r"(?:.*\n)*?.*?Used (?P<registers>\d+) registers"
)
NAME = re.compile(
    r"4cuda\d+(?:block_attention_|block_|attention_)?(?P<kind>[a-z]\w*?)_kernelI"
    r"(?:NS0_\d(?P<family>Half|Single)ILb(?P<flag>[01])EEE|(?P<plain>[fd]))"
    r"(?:Lb(?P<reaches>[01])E(?=Li))?(?:Li(?P<width>\d+)E)?(?:Li(?P<rows>\d+)E)?"
    r"(?:Lb(?P<padded>[01])E(?=Lb))?(?:Lb(?P<dropout>[01])E)?"
)


@dataclass(frozen=True, order=True)
class Kernel:
    """One instantiation; a width or row tile of 0 means that it has none."""

    kind: str
    precision: str
    width: int
    rows: int
    dropout: bool
    padded: bool = False  # the kernel of its own that forward has for padding
    reaches: bool = False  # and for all but one square pattern of whole blocks for all heads

    def __str__(self) -> str:
        parts = [self.kind, self.precision]
        parts += [f"D{self.width}"] if self.width else []
        parts += [f"R{self.rows}"] if self.rows else []
        parts += ["padded"] if self.padded else []
        parts += ["dropout"] if self.dropout else []
        return " ".join([*parts, *(["reaches"] if self.reaches else [])])


@dataclass(frozen=True)
class Use:
    """What ptxas reports: registers per thread, and bytes per thread that spill to memory."""

    registers: int
    spill: int


Table = dict[str, dict[Kernel, Use]]  # by architecture
Value = TypeVar("Value")  # what a table knows of a kernel


def kernel_of(symbol: str) -> Kernel:
    """Return the instantiation that a mangled name means."""
    match = NAME.search(symbol)
    if match is None:
        raise ValueError(f"symbol: expected one of the CUDA kernels, got {symbol!r}")
    kind, width, rows = match["kind"], int(match["width"] or 0), int(match["rows"] or 0)
    if kind in ROW_WISE:
        width, rows = 0, width
    precision = PRECISIONS[match["family"] or match["plain"], match["flag"]]
    flags = [match[name] == "1" for name in ("dropout", "padded", "reaches")]
    return Kernel(kind, precision, width, rows, *flags)


def parse(log: str) -> Table:
    """Read ptxas' report."""
    table: Table = {}
    for entry in ENTRY.finditer(log):
        use = Use(int(entry["registers"]), int(entry["stores"]))
        table.setdefault(entry["arch"], {})[kernel_of(entry["name"])] = use
    return table


def forward_tiles(kernel: Kernel, use: Use) -> int:
    """Return how many tiles of 16 rows of a tuned 16-bit forward kernel fit an SM.

    An SM has 64 Ki registers and 164 KiB; a warp has two tiles.
    """
    warps = kernel.rows // 32
    registers = -(-32 * use.registers // 256) * 256 * warps
    shared = 5 * kernel.rows * kernel.width * 2 + 1024
    return 2 * warps * min(65536 // registers, 164 * 1024 // shared, 64 // warps, 32)


def broken_rules(table: Table) -> list[str]:
    """Return what a table says against the rules above."""
    problems = []
    for arch, kernels in table.items():
        for kernel, use in kernels.items():
            allowed = MAX_SPILL if kernel.width == 128 else 0
            if use.spill > allowed:
                problems.append(f"{arch} {kernel}: spills {use.spill} bytes, allowed {allowed}")
            is_tuned = kernel.kind == "forward" and kernel.width == 32 and kernel.rows >= 32
            is_plain = not kernel.dropout and not kernel.padded
            if is_tuned and is_plain and kernel.precision in ("F16", "BF16"):
                tiles = forward_tiles(kernel, use)
                if tiles < MIN_TILES:
                    problems.append(f"{arch} {kernel}: {tiles} tiles fit, needed {MIN_TILES}")
    return problems


def regressions(found: Table, committed: Table) -> list[str]:
    """Return where the kernels need more than the committed table, or are not the same ones."""
    problems, pairs = compare(found, committed)
    for name, now, before in pairs:
        if now.registers >= before.registers + MAX_GROWTH:
            problems.append(f"{name}: {before.registers} -> {now.registers} registers")
        if now.spill > before.spill:
            problems.append(f"{name}: spills {before.spill} -> {now.spill} bytes")
    return problems


def compare(
    found: Mapping[str, Mapping[Kernel, Value]], committed: Mapping[str, Mapping[Kernel, Value]]
) -> tuple[list[str], list[tuple[str, Value, Value]]]:
    """Return what only one table has, as problems, and what both have: its name, now, before."""
    problems, pairs = [], []
    for arch, kernels in found.items():
        known = committed.get(arch, {})
        for kernel in sorted(kernels.keys() ^ known.keys()):
            where = "the table" if kernel in kernels else "what was compiled"
            problems.append(f"{arch} {kernel}: missing from {where}; renew it with --write")
        for kernel in sorted(kernels.keys() & known.keys()):
            pairs.append((f"{arch} {kernel}", kernels[kernel], known[kernel]))
    return problems, pairs


def table_compiler(path: Path = TABLE) -> str:
    """Return the release of nvcc that the committed table was written with."""
    return str(tomllib.loads(path.read_text(encoding="utf-8"))["compiler"])


def read_table(path: Path = TABLE) -> Table:
    """Read the committed table."""
    table: Table = {}
    for row in tomllib.loads(path.read_text(encoding="utf-8"))["kernel"]:
        use = row.pop("use")
        for arch, (registers, spill) in use.items():
            table.setdefault(arch, {})[Kernel(**row)] = Use(registers, spill)
    return table


def table_row(kernel: Kernel, name: str, values: dict[str, list[int]]) -> str:
    """Return a kernel's line of a table, with its values by architecture."""
    fields = {
        "kind": f'"{kernel.kind}"',
        "precision": f'"{kernel.precision}"',
        "width": str(kernel.width),
        "rows": str(kernel.rows),
        "padded": str(kernel.padded).lower(),
        "dropout": str(kernel.dropout).lower(),
        **({"reaches": "true"} if kernel.reaches else {}),
        name: f"{{ {', '.join(f'{arch} = {value}' for arch, value in values.items())} }}",
    }
    return f"  {{ {', '.join(f'{key} = {value}' for key, value in fields.items())} }},"


def table_lines(table: Table) -> list[str]:
    """Return a table as lines of TOML, one per kernel."""
    rows = []
    for kernel in sorted(set().union(*table.values())):
        uses = {arch: table[arch][kernel] for arch in table if kernel in table[arch]}
        values = {arch: [use.registers, use.spill] for arch, use in uses.items()}
        rows.append(table_row(kernel, "use", values))
    return [
        "# Registers per thread and spilled bytes of every CUDA kernel, [registers, spill], as",
        "# ptxas reports them.",
        "kernel = [",
        *rows,
        "]",
    ]
