"""``python -m tests.native.cuda_build``: compile the CUDA kernels and check what nvcc made of them.

Compiles every file of ``csrc/cuda/instances`` for each architecture, reads ptxas' report
(``cuda_resources``) and the machine code of attention, fused and in steps (``cuda_loops``), and
compares both with their rules and, if nvcc is the release that the table was written with, with
``csrc/cuda/resources.toml``.
Needs nvcc and nvdisasm, no GPU. ``--write`` renews the table, after a change that is meant to
change it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from tests.native import cuda_loops, cuda_resources
from tests.native.cuda_loops import Codes
from tests.native.cuda_resources import ARCHITECTURES, CUDA, TABLE, Table
from tests.native.cuda_sass import parse

FLAGS = ("-std=c++20", "-O3", "--expt-relaxed-constexpr", "-Xptxas", "-v")
DISASSEMBLED = "block_*"
PACKAGE = "nvidia-cuda-nvdisasm"


def find_nvdisasm(nvcc: str) -> str:
    """Return the disassembler: of the toolkit, else of its Python package."""
    beside = Path(nvcc).resolve().parent / "nvdisasm"
    if found := shutil.which("nvdisasm") or (str(beside) if beside.is_file() else None):
        return found
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "nvdisasm":
            return str(file.locate())
    raise SystemExit(f"nvdisasm: neither on PATH nor next to {nvcc}; pip install {PACKAGE}")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a compiler or disassembler; its complaint ends this program."""
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{answer.stderr}")
    return answer


def compile_all(nvcc: str, nvdisasm: str, architectures: tuple[str, ...]) -> tuple[Table, Codes]:
    """Compile every instance for the architectures, two at a time, and read what came out."""

    def compile_one(job: tuple[Path, str]) -> tuple[str, Table, str]:
        source, arch = job
        cubin = f"{folder}/{source.stem}.{arch}.cubin"
        answer = run(nvcc, *FLAGS, f"-arch={arch}", "-cubin", str(source), "-o", cubin)
        is_read = source.match(f"{DISASSEMBLED}.cu")
        code = run(nvdisasm, "-c", cubin).stdout if is_read else ""
        print(f"compiled {source.name} for {arch}", flush=True)
        return arch, cuda_resources.parse(answer.stdout + answer.stderr), code

    table: Table = {arch: {} for arch in architectures}
    codes: Codes = {arch: {} for arch in architectures}
    jobs = [
        (source, arch) for source in (CUDA / "instances").glob("*.cu") for arch in architectures
    ]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        for arch, part, code in pool.map(compile_one, sorted(jobs)):
            table[arch] |= part[arch]
            codes[arch] |= cuda_loops.codes_of(parse(code))
    return table, codes


def main(arguments: list[str]) -> int:
    """Compile, compare and report; 0 if all is well or there is no nvcc."""
    parser = argparse.ArgumentParser(description="Check what nvcc makes of the CUDA kernels.")
    parser.add_argument("--write", action="store_true", help="renew the table")
    parser.add_argument("--arch", action="append", choices=ARCHITECTURES, help="only this one")
    options = parser.parse_args(arguments)
    architectures = tuple(options.arch or ARCHITECTURES)
    if options.write and architectures != ARCHITECTURES:
        parser.error("--write: the table holds every architecture, leave out --arch")
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        print("skipped: no nvcc")
        return 0
    table, codes = compile_all(nvcc, find_nvdisasm(nvcc), architectures)
    loops = cuda_loops.loops_of(codes)
    release = run(nvcc, "--version").stdout.strip().splitlines()[-2]
    if options.write:
        lines = [
            "# What nvcc makes of the CUDA kernels; written and checked by nox -s cuda_build.",
            f'compiler = "{release}"',
            *cuda_resources.table_lines(table),
            *cuda_loops.table_lines(loops),
        ]
        TABLE.write_text("\n".join([*lines, ""]), encoding="utf-8")
    problems = [*cuda_resources.broken_rules(table), *cuda_loops.broken_rules(codes)]
    if (compiler := cuda_resources.table_compiler()) == release:
        problems += cuda_resources.regressions(table, cuda_resources.read_table())
        problems += cuda_loops.regressions(loops, cuda_loops.read_table())
    else:  # another release allocates other registers, which is no change of the kernels
        print(f"not compared with the table, which is of {compiler!r}; this is {release!r}")
    print("\n".join(problems))
    n_kernels = sum(len(kernels) for kernels in table.values())
    n_read = sum(len(kernels) for kernels in codes.values())
    print(
        f"{n_kernels} kernels for {', '.join(architectures)}, the machine code of {n_read}: "
        f"{len(problems)} problems"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
