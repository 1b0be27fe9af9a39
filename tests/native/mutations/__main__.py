"""Do the operator tests notice bugs? ``python -m tests.native.mutations [NAME ...]``, default all.

Works on a copy of this working tree in a temporary folder, with a kernel cache of its own. A
mutation says which library it is built into (``libraries.py``). The unchanged sources must pass
first; then each mutation is applied, built, tested and undone. The exit status is 0 only if every
mutation was caught.
"""

import argparse
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.native.mutations.catalogue import Mutation, read_mutations
from tests.native.mutations.libraries import LIBRARIES

ROOT = Path(__file__).resolve().parents[3]
COPIED = ("csrc", "spion_bench", "tests", "pyproject.toml")
CAUGHT = "caught"
SHOWN_LINES = 15
FINDING = re.compile(r"emulator: .*|ERROR: AddressSanitizer: \S+|runtime error: .*")


@dataclass(frozen=True)
class Outcome:
    """What became of a mutation: the verdict, the test that failed or what went wrong, seconds."""

    name: str
    verdict: str
    detail: str
    seconds: float = 0.0


class ProjectCopy:
    """A copy of the working tree that can be changed, built and tested."""

    def __init__(self, folder: Path):
        self.root = folder / "project"
        self._folder = folder
        self.root.mkdir()
        for name in COPIED:
            source, target = ROOT / name, self.root / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        # One emulated block at a time: what the emulator says is one message, always the same.
        own = {"SPION_BENCH_CACHE": str(folder / "cache"), "EMU_THREADS": "1"}
        self._environment = os.environ | own

    def build(self, library: str) -> tuple[str | None, str]:
        """Return a library's checksum, None if it did not compile, and the compiler's output."""
        objects = self._folder / f"objects-{library}"
        objects.mkdir(exist_ok=True)
        done = self._python("tests.native.mutations.build", library, str(objects))
        if done.returncode != 0:
            return None, done.stdout
        file = Path(done.stdout.splitlines()[-1])
        return hashlib.sha256(file.read_bytes()).hexdigest(), done.stdout

    def test(self, library: str, tests: Iterable[str]) -> tuple[int, str]:
        """Run tests up to the first failure; return pytest's exit status and output."""
        # What the emulator or a sanitizer says before it stops the process has to come through.
        options = ("-x", "-q", "--tb=no", "-p", "no:cacheprovider", "--capture=sys")
        done = self._python("pytest", *options, *tests, **LIBRARIES[library].environment())
        return done.returncode, done.stdout

    def _python(
        self, module: str, *arguments: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=self.root,
            env=self._environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )


def judge(returncode: int, output: str, message: str = "") -> tuple[str, str]:
    """Return the verdict on a mutation, and its detail, from pytest's exit status and output.

    ``message`` is what the process has to say before it dies, if it may not die of anything else.
    """
    if returncode == 0:
        return "survived", "all its tests passed"
    if message and (returncode > 0 or message not in output):
        ended = f"expected {message!r}, pytest ended with {returncode}"
        return "not as told", f"{ended}:\n{last_lines(output)}"
    if returncode < 0:
        finding = FINDING.search(output)
        told = f": {finding[0]}" if finding else ""
        return CAUGHT, f"the test process died of {signal.Signals(-returncode).name}{told}"
    failed = [line for line in output.splitlines() if line.startswith("FAILED ")]
    if returncode == 1 and failed:
        return CAUGHT, failed[0].removeprefix("FAILED ").split(" - ")[0]
    return "tests broke", f"pytest ended with {returncode}:\n{last_lines(output)}"


def last_lines(output: str) -> str:
    return "\n".join(output.splitlines()[-SHOWN_LINES:])


def try_mutation(project: ProjectCopy, mutation: Mutation, unchanged: str) -> Outcome:
    """Apply, build, test and undo; ``unchanged`` is the checksum of the library without bugs."""
    started = time.perf_counter()
    try:
        original = mutation.apply(project.root)
    except ValueError as error:
        return Outcome(mutation.name, "does not apply", str(error))
    try:
        checksum, output = project.build(mutation.library)
        if checksum is None:
            verdict, detail = "does not compile", last_lines(output)
        elif checksum == unchanged:
            verdict, detail = "no effect", "the compiled library is the one without the mutation"
        else:
            verdict, detail = judge(
                *project.test(mutation.library, mutation.tests), mutation.message
            )
    finally:
        (project.root / mutation.file).write_text(original, encoding="utf-8")
    return Outcome(mutation.name, verdict, detail, time.perf_counter() - started)


def check_unchanged(project: ProjectCopy, library: str, mutations: list[Mutation]) -> str:
    """Build and test the sources as they are; return the library's checksum."""
    print(f"unchanged sources, library {library}: building ...", flush=True)
    checksum, output = project.build(library)
    if checksum is None:
        sys.exit(f"the unchanged sources do not compile:\n{last_lines(output)}")
    tests = dict.fromkeys(
        test for mutation in mutations if mutation.library == library for test in mutation.tests
    )
    if tests:
        print(f"unchanged sources, library {library}: testing ...", flush=True)
        returncode, output = project.test(library, tests)
        if returncode != 0:
            sys.exit(f"the tests fail without any mutation:\n{last_lines(output)}")
        print(output.splitlines()[-1], flush=True)
    return checksum


def choose(names: list[str]) -> list[Mutation]:
    mutations = read_mutations()
    if unknown := set(names) - {mutation.name for mutation in mutations}:
        sys.exit(f"no such mutation: {', '.join(sorted(unknown))}; see tests/native/mutations/")
    return [mutation for mutation in mutations if not names or mutation.name in names]


def show(outcomes: list[Outcome]) -> None:
    print("\n| mutation | verdict | by | seconds |\n|---|---|---|---|")
    for outcome in outcomes:
        first_line = outcome.detail.splitlines()[0]
        print(f"| {outcome.name} | {outcome.verdict} | {first_line} | {outcome.seconds:.0f} |")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Seed bugs into the kernels and test them.")
    parser.add_argument("names", nargs="*", metavar="MUTATION", help="all by default")
    mutations = choose(parser.parse_args(arguments).names)
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="spion-mutations-") as folder:
        project = ProjectCopy(Path(folder))
        # The emulated operators take their schemas from the CPU library.
        libraries = dict.fromkeys(["cpu", *(mutation.library for mutation in mutations)])
        unchanged = {name: check_unchanged(project, name, mutations) for name in libraries}
        for number, mutation in enumerate(mutations, start=1):
            outcome = try_mutation(project, mutation, unchanged[mutation.library])
            outcomes.append(outcome)
            print(
                f"[{number}/{len(mutations)}] {outcome.name}: {outcome.verdict} "
                f"({outcome.seconds:.0f} s): {outcome.detail}",
                flush=True,
            )
    show(outcomes)
    n_caught = sum(outcome.verdict == CAUGHT for outcome in outcomes)
    print(f"\n{n_caught} of {len(outcomes)} mutations caught")
    return 0 if n_caught == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
