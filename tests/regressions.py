"""The worked example of docs/regressions.md: a slower kernel, which every tool has to find.

Run by `nox -s regressions`. It works on a clone of the last commit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests import ROOT

SOURCE = "csrc/cpu/block_attention.cpp"
CALL = "    forward_unit(problem, scheme, unit, scratch.of(thread));\n"
PERF = "attention_1024-block_attention-forward_ms"
IDENTITY = ("-c", "user.name=example", "-c", "user.email=example@example.org")


@dataclass(frozen=True)
class Step:
    """One command of the example.

    Attributes:
        command: As the document shows it.
        at: The commit that is checked out.
        says: What it has to print.
        exit_code: Its exit code, or None: any but 0.
    """

    command: tuple[str, ...]
    at: str
    says: str
    exit_code: int | None = 0


def _nox(session: str, *arguments: str) -> tuple[str, ...]:
    return ("nox", "-s", session, "--", *arguments)


STEPS = (
    Step(_nox("perf", "--benchmark-save=before", "-k", PERF), "HEAD~1", "Saved benchmark data"),
    Step(
        _nox(
            *("perf", "--benchmark-compare", "--benchmark-compare-fail=median:20%", "-k", PERF),
        ),
        "HEAD",
        "Performance has regressed",
        exit_code=None,
    ),
    Step(
        ("spion-bench", "compare", "HEAD~1", "HEAD", "--cases", "forward/attention_1024"),
        "HEAD",
        "1 SLOWER",
        exit_code=1,
    ),
    Step(
        _nox("asv_continuous", "HEAD~1", "HEAD", "--bench", "time_forward"),
        "HEAD",
        "PERFORMANCE DECREASED",
        exit_code=None,
    ),
)


def double_the_work(root: Path) -> None:
    """Make the fused forward pass compute everything twice."""
    source = root / SOURCE
    text = source.read_text(encoding="utf-8")
    if text.count(CALL) != 1:
        raise SystemExit(f"{SOURCE}: expected {CALL.strip()!r} once; adapt this example")
    source.write_text(text.replace(CALL, CALL * 2), encoding="utf-8")


def run(step: Step, clone: Path) -> bool:
    """Run one command; return whether it found what it has to."""
    branch = "slower" if step.at == "HEAD" else "slower~1"
    git(clone, "checkout", "--quiet", "--detach", branch)
    command = step.command
    if command[0] == "spion-bench":  # of the clone, wherever this one is installed
        command = (sys.executable, "-m", "spion_bench", *command[1:])
    print(f"$ {' '.join(step.command)}", flush=True)
    done = subprocess.run(
        command,
        cwd=clone,
        env={**os.environ, "PYTHONPATH": str(clone)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout, flush=True)
    fits = done.returncode != 0 if step.exit_code is None else done.returncode == step.exit_code
    if not fits or step.says not in done.stdout:
        print(f"expected {step.says!r} and exit code {step.exit_code}, got {done.returncode}")
        return False
    return True


def git(folder: Path, *arguments: str) -> None:
    """Run git, which has to succeed."""
    subprocess.run(["git", "-C", str(folder), *IDENTITY, *arguments], check=True)


def main() -> int:
    """Run the example; return 1 if a tool did not find the slower kernel."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        git(ROOT, "clone", "--quiet", str(ROOT), str(clone))
        git(clone, "checkout", "--quiet", "-b", "slower")
        double_the_work(clone)
        git(clone, "commit", "--quiet", "--all", "-m", "Compute the fused forward pass twice")
        found = [run(step, clone) for step in STEPS]
    print(f"{sum(found)} of {len(found)} commands found it")
    return 0 if all(found) else 1


if __name__ == "__main__":
    sys.exit(main())
