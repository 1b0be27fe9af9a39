"""``python -m tests.lowest``: is what the declared minima install enough?

Imports every module of the package, then lists, plans, and reports the committed records. Prints
the versions it ran with. ``nox -s tests_lowest`` installs them.
"""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from tests import ROOT

# Modules of extras, and the programs that run when they are imported.
SKIPPED = (
    "spion_bench.__main__",
    "spion_bench.csrc",
    # Modules that need an extra.
    "spion_bench.conversion.for_lightning",
    "spion_bench.conversion.for_trainer",
)


def modules() -> Iterator[str]:
    """Yield every module of the package and of the baselines."""
    for name in ("spion_bench", "baselines"):
        package = importlib.import_module(name)
        found = pkgutil.walk_packages(package.__path__, f"{name}.")
        yield from (module.name for module in found if not module.name.startswith(SKIPPED))


def main() -> int:
    """Import everything and run the commands that need no kernels; return the exit code."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for requirement in declared["project"]["dependencies"]:
        name = requirement.partition(">=")[0]
        print(f"{name} {version(name)} (declared: {requirement})", flush=True)
    names = sorted(modules())
    for name in names:
        importlib.import_module(name)
    print(f"imported {len(names)} modules", flush=True)
    records = sorted(path.parent for path in (ROOT / "results" / "records").rglob("records.jsonl"))
    with tempfile.TemporaryDirectory() as folder:
        commands = [["list"], ["plan", "--profile", "speed", "--out", folder]]
        commands += [["report", str(path), "--report-dir", folder] for path in records]
        for command in commands:
            print(" ".join(command[:3]), flush=True)
            done = subprocess.run(
                [sys.executable, "-m", "spion_bench", *command],
                stdout=subprocess.DEVNULL,
                cwd=Path(folder),
                check=False,
            )
            if done.returncode != 0:
                print(f"failed with exit code {done.returncode}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
