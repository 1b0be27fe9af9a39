"""``python -m tests.cuda_resources``: compile the CUDA kernels and check what they need.

Compiles every file of ``csrc/cuda/instances`` with nvcc for each architecture and compares the
registers and spilled bytes that ptxas reports with the committed table
``csrc/cuda/resources.toml``. Needs the CUDA toolkit, no GPU. ``--write`` renews the table, after a
change that is meant to change it. Rules, beside the table:

- nothing spills up to D = 64, and at most ``MAX_SPILL`` bytes at D = 128
- the tuned forward shapes (16-bit, D = 32, blocks of 32 and 64) leave room for 20 warps on an SM
- a kernel may not need ``MAX_GROWTH`` registers more than the table says
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

CUDA = Path(__file__).resolve().parents[1] / "csrc" / "cuda"
TABLE = CUDA / "resources.toml"
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
FLAGS = ("-std=c++20", "-O3", "--expt-relaxed-constexpr", "-Xptxas", "-v")
MAX_SPILL = 96
MAX_GROWTH = 8
MIN_WARPS = 20

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
    r"4cuda\d+(?:attention_|pipeline_)?(?P<kind>[a-z]\w*?)_kernelI"
    r"(?:NS0_\d(?P<family>Half|Single)ILb(?P<flag>[01])EEE|(?P<plain>[fd]))"
    r"(?:Li(?P<width>\d+)E)?(?:Li(?P<rows>\d+)E)?(?:Lb(?P<dropout>[01])E)?"
)


@dataclass(frozen=True, order=True)
class Kernel:
    """One instantiation; a width or row tile of 0 means that it has none."""

    kind: str
    precision: str
    width: int
    rows: int
    dropout: bool

    def __str__(self) -> str:
        parts = [self.kind, self.precision]
        parts += [f"D{self.width}"] if self.width else []
        parts += [f"R{self.rows}"] if self.rows else []
        return " ".join([*parts, *(["dropout"] if self.dropout else [])])


@dataclass(frozen=True)
class Use:
    """What ptxas reports: registers per thread, and bytes per thread that spill to memory."""

    registers: int
    spill: int


Table = dict[str, dict[Kernel, Use]]  # by architecture


def kernel_of(symbol: str) -> Kernel:
    """Return the instantiation that a mangled name means."""
    match = NAME.search(symbol)
    if match is None:
        raise ValueError(f"symbol: expected one of the CUDA kernels, got {symbol!r}")
    kind, width, rows = match["kind"], int(match["width"] or 0), int(match["rows"] or 0)
    if kind in ROW_WISE:
        width, rows = 0, width
    precision = PRECISIONS[match["family"] or match["plain"], match["flag"]]
    return Kernel(kind, precision, width, rows, match["dropout"] == "1")


def parse(log: str) -> Table:
    """Read ptxas' report."""
    table: Table = {}
    for entry in ENTRY.finditer(log):
        use = Use(int(entry["registers"]), int(entry["stores"]))
        table.setdefault(entry["arch"], {})[kernel_of(entry["name"])] = use
    return table


def forward_warps(kernel: Kernel, use: Use) -> int:
    """Return how many warps of a 16-bit forward kernel fit an SM of 64 Ki registers, 164 KiB."""
    warps = kernel.rows // 16
    registers = -(-32 * use.registers // 256) * 256 * warps
    shared = 5 * kernel.rows * kernel.width * 2 + 1024
    return warps * min(65536 // registers, 164 * 1024 // shared, 64 // warps, 32)


def broken_rules(table: Table) -> list[str]:
    """Return what a table says against the rules above."""
    problems = []
    for arch, kernels in table.items():
        for kernel, use in kernels.items():
            allowed = MAX_SPILL if kernel.width == 128 else 0
            if use.spill > allowed:
                problems.append(f"{arch} {kernel}: spills {use.spill} bytes, allowed {allowed}")
            is_tuned = kernel.kind == "forward" and kernel.width == 32 and kernel.rows >= 32
            if is_tuned and not kernel.dropout and kernel.precision in ("F16", "BF16"):
                warps = forward_warps(kernel, use)
                if warps < MIN_WARPS:
                    problems.append(f"{arch} {kernel}: {warps} warps fit, needed {MIN_WARPS}")
    return problems


def regressions(found: Table, committed: Table) -> list[str]:
    """Return where the kernels need more than the committed table, or are not the same ones."""
    problems = []
    for arch, kernels in found.items():
        known = committed.get(arch, {})
        for kernel in sorted(kernels.keys() ^ known.keys()):
            where = "the table" if kernel in kernels else "what was compiled"
            problems.append(f"{arch} {kernel}: missing from {where}; renew it with --write")
        for kernel in sorted(kernels.keys() & known.keys()):
            now, before = kernels[kernel], known[kernel]
            if now.registers >= before.registers + MAX_GROWTH:
                problems.append(f"{arch} {kernel}: {before.registers} -> {now.registers} registers")
            if now.spill > before.spill:
                problems.append(f"{arch} {kernel}: spills {before.spill} -> {now.spill} bytes")
    return problems


def read_table(path: Path = TABLE) -> Table:
    """Read the committed table."""
    table: Table = {}
    for row in tomllib.loads(path.read_text(encoding="utf-8"))["kernel"]:
        kernel = Kernel(row["kind"], row["precision"], row["width"], row["rows"], row["dropout"])
        for arch, (registers, spill) in row["use"].items():
            table.setdefault(arch, {})[kernel] = Use(registers, spill)
    return table


def write_table(table: Table, compiler: str, path: Path = TABLE) -> None:
    """Write a table, one line per kernel."""
    lines = [
        "# Registers per thread and spilled bytes of every CUDA kernel, [registers, spill], as",
        "# ptxas reports them. Written and checked by `python -m tests.cuda_resources`.",
        f'compiler = "{compiler}"',
        "kernel = [",
    ]
    for kernel in sorted(set().union(*table.values())):
        uses = ", ".join(
            f"{arch} = [{table[arch][kernel].registers}, {table[arch][kernel].spill}]"
            for arch in table
        )
        lines.append(
            f'  {{ kind = "{kernel.kind}", precision = "{kernel.precision}", '
            f"width = {kernel.width}, rows = {kernel.rows}, "
            f"dropout = {str(kernel.dropout).lower()}, use = {{ {uses} }} }},"
        )
    path.write_text("\n".join([*lines, "]", ""]), encoding="utf-8")


def compile_all(nvcc: str, architectures: tuple[str, ...]) -> Table:
    """Compile every instance for the architectures, two at a time."""
    targets = [
        flag
        for arch in architectures
        for flag in ("-gencode", f"arch={arch.replace('sm', 'compute')},code={arch}")
    ]

    def compile_one(source: Path, folder: str) -> Table:
        command = [nvcc, *FLAGS, *targets, "-c", str(source), "-o", f"{folder}/{source.stem}.o"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            raise SystemExit(f"{source}: nvcc failed\n{answer.stderr}")
        print(f"compiled {source.name}", flush=True)
        return parse(answer.stdout + answer.stderr)

    table: Table = {arch: {} for arch in architectures}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        sources = sorted((CUDA / "instances").glob("*.cu"))
        for part in pool.map(lambda source: compile_one(source, folder), sources):
            for arch, kernels in part.items():
                table[arch] |= kernels
    return table


def main(arguments: list[str]) -> int:
    """Compile, compare and report; 0 if all is well or there is no nvcc."""
    parser = argparse.ArgumentParser(description="Check what the CUDA kernels need.")
    parser.add_argument("--write", action="store_true", help="renew the table")
    parser.add_argument("--arch", action="append", choices=ARCHITECTURES, help="only this one")
    options = parser.parse_args(arguments)
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        print("skipped: no nvcc")
        return 0
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True)
    release = version.stdout.strip().splitlines()[-2]
    found = compile_all(nvcc, tuple(options.arch or ARCHITECTURES))
    if options.write:
        write_table(found, release)
    problems = [*broken_rules(found), *regressions(found, read_table())]
    print("\n".join(problems))
    n_kernels = sum(len(kernels) for kernels in found.values())
    print(f"{n_kernels} kernels for {', '.join(found)}: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
