"""``python -m tests.native.compute_sanitizer``: some tests on a GPU under each of its tools.

What follows goes to pytest. Ends at the first tool that finds something, with its exit status.
"""

from __future__ import annotations

import os
import subprocess
import sys

from spion_bench.native import library
from tests import ROOT

TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
# One of every kind of kernel, small: a sanitizer makes kernels slower by orders of magnitude.
TESTS = "block_16 or holes or long_column or golden"


def main() -> int:
    library.load("cuda")  # built here, not under a sanitizer
    # Without torch's cache every tensor is an allocation of its own, whose ends are known.
    uncached = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    tests = (sys.executable, "-m", "pytest", "-x", "tests/cuda", "-k", TESTS, *sys.argv[1:])
    for tool in TOOLS:
        command = ("compute-sanitizer", "--tool", tool, "--error-exitcode", "1", *tests)
        done = subprocess.run(command, cwd=ROOT, env=uncached, check=False)
        if done.returncode != 0:
            print(f"{tool}: exit status {done.returncode}")
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
