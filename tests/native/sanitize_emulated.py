"""``python -m tests.native.sanitize_emulated``: the emulated operators under ASan and UBSan.

Builds the emulator and every instance of the CUDA kernels with both sanitizers, in a cache folder
of its own, and runs ``tests/emulation`` on them, all instances included; arguments go on to pytest.
The emulator watches shared memory itself, races included, here as everywhere; the sanitizers add
global memory and undefined behaviour. Either stops the run at its first finding and says where.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.native.mutations.libraries import LIBRARIES

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "emulated_whole_address"
OPTIONS = (
    "--capture=sys",  # what a sanitizer says before it stops the process has to come through
    "--ignore=tests/emulation/test_emulator.py",  # a program of its own, whose misuse has to abort
)


def build(library: str, folder: Path, environment: dict[str, str]) -> None:
    print(f"{library}: building ...", flush=True)
    started = time.perf_counter()
    objects = folder / library
    objects.mkdir()
    command = [sys.executable, "-m", "tests.native.mutations.build", library, str(objects)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    print(f"{library}: built in {time.perf_counter() - started:.0f} s", flush=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Run the emulated operators under sanitizers.")
    arguments = parser.parse_known_args(arguments)[1]  # pytest's
    with tempfile.TemporaryDirectory(prefix="spion-sanitize-") as name:
        folder = Path(name)
        cache = folder / "cache"
        environment = os.environ | {"SPION_BENCH_CACHE": str(cache)}
        for library in ("cpu", LIBRARY):  # the emulated operators take their schemas from the CPU's
            build(library, folder, environment)
        command = [sys.executable, "-m", "pytest", "tests/emulation", *OPTIONS, *arguments]
        environment |= {"HYPOTHESIS_PROFILE": "nightly"} | LIBRARIES[LIBRARY].environment()
        status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        if len(list(cache.glob("*/complete.json"))) > 2:
            sys.exit("the sources changed meanwhile: tests ran on a library without sanitizers")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
