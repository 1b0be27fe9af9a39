"""``python -m tests.commits run|continuous``: asv, on commits of this checkout.

``run BASE..HEAD`` measures commits and writes asv's site; what follows goes to ``asv run``. Results
go to results/asv, the site to .asv/html. ``--steps 8`` picks eight of the commits, and
``--skip-existing-successful`` goes on where an earlier run stopped. ``continuous BASE HEAD`` says
what got slower between two commits; what follows goes to ``asv continuous``.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from spion_bench.measure.machine import available_cores, cpu_model
from tests import ROOT

FAILED_BENCHMARK = 2
"""What asv ends with where a benchmark failed, for instance one that an old commit lacks."""


def main() -> int:
    task, *arguments = sys.argv[1:]
    return {"run": run, "continuous": continuous}[task](*arguments)


def run(commits: str = "HEAD^!", *options: str) -> int:
    """Measure commits and write the site."""
    if not git("rev-list", "--first-parent", commits):
        sys.exit(f"{commits}: no commits in it; expected a range such as HEAD~3..HEAD")
    status = asv("run", "--machine", describe_machine(), commits, *options)
    if status not in (0, FAILED_BENCHMARK):
        return status
    return asv("publish")


def continuous(*arguments: str) -> int:
    """Say what got slower between two commits."""
    if len(arguments) < 2:
        sys.exit("expected two commits: nox -s asv_continuous -- BASE HEAD")
    base, head, *options = arguments
    for commit in (base, head):
        git("rev-parse", "--verify", "--quiet", commit + "^{commit}")
    return asv("continuous", "--machine", describe_machine(), *options, base, head)


def asv(*arguments: str) -> int:
    """Run a command of asv and return its exit status."""
    return subprocess.run(["asv", *arguments], cwd=ROOT, check=False).returncode


def git(*arguments: str) -> str:
    """Return what git says about this checkout; what it cannot say ends the program."""
    if shutil.which("git") is None:
        sys.exit("no git; asv builds the commits of a git checkout")
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(
            f"git {' '.join(arguments)}: {done.stderr.strip() or 'no such commit'}; asv needs the "
            "checkout's commits (a shallow clone has a few of them: git fetch --unshallow)"
        )
    return done.stdout.strip()


def describe_machine() -> str:
    """Describe this machine to asv without its host name, and return its name."""
    cpu, cores = cpu_model(), str(available_cores())
    name = re.sub(r"[^a-z0-9]+", "-", f"{cpu} x{cores}".lower())
    # `asv machine` forgets what is equal to its own guess, so its file is written here.
    file = Path.home() / ".asv-machine.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"version": 1}
    system = {"os": platform.system(), "arch": platform.machine(), "ram": ""}
    known[name] = {"machine": name, **system, "cpu": cpu, "num_cpu": cores}
    file.write_text(json.dumps(known, indent=4), encoding="utf-8")
    return name


if __name__ == "__main__":
    sys.exit(main())
