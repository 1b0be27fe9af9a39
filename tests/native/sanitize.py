"""``python -m tests.native.sanitize``: do the CPU kernels run clean under sanitizers?

Builds ``csrc/driver``, which runs the kernels without torch, Python and OpenMP, once per sanitizer
and runs it; names after the command choose among ``SANITIZERS``. Needs a C++ compiler and nothing
that pip installs. The exit status is 0 only if every build of the driver found all results right
and its sanitizer found nothing.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CSRC = Path(__file__).resolve().parents[2] / "csrc"
LANGUAGE_FLAGS = ("-std=c++20", "-fno-math-errno", "-fno-trapping-math")  # as the library is built
# 64-byte vectors without AVX-512 are passed between functions of one file only, whatever their ABI.
DRIVER_FLAGS = ("-O1", "-pthread", "-Wno-psabi")
SANITIZERS = {
    "address": ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "thread": ("-g", "-fsanitize=thread"),
}
# Stop at the first finding and say where it is.
OPTIONS = {"UBSAN_OPTIONS": "print_stacktrace=1", "TSAN_OPTIONS": "halt_on_error=1"}


def build(folder: Path, flags: Sequence[str] = ()) -> Path:
    """Compile the driver and the kernels of every instruction set; return the program.

    Raises:
        RuntimeError: If there is no compiler or it fails; the message holds its output.
    """
    compiler = shlex.split(os.environ.get("CXX", "")) or ["c++"]
    if shutil.which(compiler[0]) is None:
        raise RuntimeError(f"no C++ compiler: {compiler[0]!r} was not found; set CXX to one")
    command = [*compiler, *LANGUAGE_FLAGS, *DRIVER_FLAGS, *flags]

    def compile_one(source: Path) -> str:
        target = folder / f"{source.stem}.o"
        _run([*command, "-c", str(source), "-o", str(target)])
        return str(target)

    sources = sorted([*CSRC.glob("driver/*.cpp"), *CSRC.glob("cpu/common/isa_*.cpp")])
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        objects = list(workers.map(compile_one, sources))
    program = folder / "driver"
    _run([*command, *objects, "-o", str(program)])
    return program


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"`{shlex.join(command)}` failed:\n{done.stdout}{done.stderr}")


def run_under(sanitizer: str) -> bool:
    """Build and run the driver with a sanitizer; its output goes where ours goes."""
    print(f"{sanitizer}: building ...", flush=True)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="spion-sanitize-") as folder:
        program = build(Path(folder), SANITIZERS[sanitizer])
        print(f"{sanitizer}: running ...", flush=True)
        done = subprocess.run([program], env=os.environ | OPTIONS, check=False)
    verdict = "clean" if done.returncode == 0 else f"FAILED with status {done.returncode}"
    print(f"{sanitizer}: {verdict} ({time.perf_counter() - started:.0f} s)", flush=True)
    return done.returncode == 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Run the CPU kernels under sanitizers.")
    parser.add_argument("names", nargs="*", metavar="SANITIZER", help=f"{list(SANITIZERS)}")
    names = parser.parse_args(arguments).names or SANITIZERS
    if unknown := set(names) - set(SANITIZERS):
        sys.exit(f"no such sanitizer: {', '.join(sorted(unknown))}; there are {list(SANITIZERS)}")
    verdicts = [run_under(sanitizer) for sanitizer in names]
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
