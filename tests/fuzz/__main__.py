"""``python -m tests.fuzz [TARGET ...]``: random and damaged inputs, for a stated time.

Each target runs in a process of its own: a crash, a case that takes too long, an error of the wrong
kind and a wrong result are findings. Cases depend on their seed alone: ``TARGET --case SEED``
repeats one. The exit status is 1 if anything was found; a finding becomes a test of the door that
let it in.
"""

import argparse
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.native.mutations.libraries import LIBRARIES
from tests.native.sanitize_emulated import build

ROOT = Path(__file__).resolve().parents[2]
OPERATORS = ("by_torch", "by_face")
FILES = ("records", "artifacts", "checkpoints", "archives", "tables", "pictures", "idx", "profiles")
TARGETS = (*OPERATORS, *FILES, "patterns", "addresses", "folders")
LONGEST_CASE_S = 30


def target_of(name: str) -> Callable[[Random, Path], None]:
    """Return a target; its modules are imported in the processes that need them only."""
    if name in OPERATORS:
        from tests.fuzz import operators

        return lambda random, folder: getattr(operators, name)(random)
    from tests.fuzz import files, folders

    if name == "folders":
        return folders.folders
    return getattr(files, name)


def play(name: str, seed: str, seconds: float) -> None:
    """Run the case ``seed``, or the cases ``seed-0``, ``seed-1`` ... until the time is over."""
    target = target_of(name)
    warnings.simplefilter("ignore")
    end = time.monotonic() + seconds
    for number in itertools.count():
        case = seed if "-" in seed else f"{seed}-{number}"
        print(f"case {case}", flush=True)
        signal.alarm(LONGEST_CASE_S)  # whose default action ends the process
        with tempfile.TemporaryDirectory(prefix="spion-fuzz-") as folder:
            target(Random(f"{name} {case}"), Path(folder))
        signal.alarm(0)
        if case == seed or time.monotonic() > end:
            return


def judge(name: str, seed: str, seconds: float, environment: dict[str, str]) -> str | None:
    """Run one target in a process; return what was found, or None."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz", name, "--play", seed]
    done = subprocess.run(
        [*command, "--seconds", str(seconds)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    cases = [line for line in done.stdout.splitlines() if line.startswith("case ")]
    print(f"{name}: {len(cases)} cases", flush=True)
    if done.returncode == 0:
        return None
    end = f"signal {signal.Signals(-done.returncode).name}" if done.returncode < 0 else "an error"
    last = cases[-1].removeprefix("case ") if cases else "none"
    return f"{name} --case {last}: {end}\n{done.stderr[-3000:]}"


def main() -> int:
    """Run the chosen targets."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=float, default=20.0, help="time of each target")
    parser.add_argument("--seed", default=str(int(time.time())), help="of the first case")
    parser.add_argument("--case", help="repeat this case of one target")
    parser.add_argument(
        "--address", action="store_true", help="operators with AddressSanitizer too"
    )
    parser.add_argument("--play", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {TARGETS}")
    targets = options.targets or TARGETS
    if options.play or options.case:
        play(targets[0], options.play or options.case, options.seconds)
        return 0
    found = [judge(name, options.seed, options.seconds, {}) for name in targets]
    if options.address:
        with tempfile.TemporaryDirectory(prefix="spion-fuzz-") as folder:
            environment = {"SPION_BENCH_CACHE": f"{folder}/cache"}
            build("cpu_address", Path(folder), os.environ | environment)
            environment |= LIBRARIES["cpu_address"].environment()
            found += [judge(name, options.seed, options.seconds, environment) for name in OPERATORS]
    findings = [finding for finding in found if finding]
    print("\n\n".join(findings) or "nothing found")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
