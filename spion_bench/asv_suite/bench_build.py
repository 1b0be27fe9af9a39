"""How long the first use of a fresh installation takes: compiling the CPU kernels."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


class Build:
    """Seconds of a first use with an empty cache, imports included."""

    timeout = 1800
    unit = "seconds"

    def track_first_build(self) -> float:
        """Return how long it took."""
        script = Path(__file__).with_name("first_use.py")
        with tempfile.TemporaryDirectory() as cache:
            start = time.perf_counter()
            # -P: the script's folder is no place to import from.
            subprocess.run(
                [sys.executable, "-P", str(script)],
                env={**os.environ, "SPION_BENCH_CACHE": cache},
                check=True,
            )
            return time.perf_counter() - start
