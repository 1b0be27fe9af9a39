"""Do the operator tests notice bugs? ``python -m tests.mutations [NAME ...]``, default all.

Works on a copy of this working tree in a temporary folder, with a kernel cache of its own. The
unchanged sources must pass first; then each mutation is applied, built, tested and undone. The exit
status is 0 only if every mutation was caught.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.mutations.catalogue import Mutation, read_mutations

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("csrc", "spion_bench", "tests", "pyproject.toml")
CAUGHT = "caught"
SHOWN_LINES = 15


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
        self._objects = folder / "objects"
        self._objects.mkdir()
        self.root.mkdir()
        for name in COPIED:
            source, target = ROOT / name, self.root / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        self._environment = os.environ | {"SPION_BENCH_CACHE": str(folder / "cache")}

    def build(self) -> tuple[str | None, str]:
        """Return the library's checksum, None if it did not compile, and the compiler's output."""
        done = self._python("tests.mutations.build", str(self._objects))
        if done.returncode != 0:
            return None, done.stdout
        library = Path(done.stdout.splitlines()[-1])
        return hashlib.sha256(library.read_bytes()).hexdigest(), done.stdout

    def test(self, tests: tuple[str, ...]) -> tuple[int, str]:
        """Run tests up to the first failure; return pytest's exit status and output."""
        options = ("-x", "-q", "--tb=no", "-p", "no:cacheprovider")
        done = self._python("pytest", *options, *tests)
        return done.returncode, done.stdout

    def _python(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=self.root,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def judge(returncode: int, output: str) -> tuple[str, str]:
    """Return the verdict on a mutation, and its detail, from pytest's exit status and output."""
    if returncode == 0:
        return "survived", "all its tests passed"
    if returncode < 0:
        return CAUGHT, f"the test process died of {signal.Signals(-returncode).name}"
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
        checksum, output = project.build()
        if checksum is None:
            verdict, detail = "does not compile", last_lines(output)
        elif checksum == unchanged:
            verdict, detail = "no effect", "the compiled library is the one without the mutation"
        else:
            verdict, detail = judge(*project.test(mutation.tests))
    finally:
        (project.root / mutation.file).write_text(original, encoding="utf-8")
    return Outcome(mutation.name, verdict, detail, time.perf_counter() - started)


def check_unchanged(project: ProjectCopy, mutations: list[Mutation]) -> str:
    """Build and test the sources as they are; return the library's checksum."""
    print("unchanged sources: building ...", flush=True)
    checksum, output = project.build()
    if checksum is None:
        sys.exit(f"the unchanged sources do not compile:\n{last_lines(output)}")
    print("unchanged sources: testing ...", flush=True)
    tests = dict.fromkeys(test for mutation in mutations for test in mutation.tests)
    returncode, output = project.test(tuple(tests))
    if returncode != 0:
        sys.exit(f"the tests fail without any mutation:\n{last_lines(output)}")
    print(output.splitlines()[-1], flush=True)
    return checksum


def choose(names: list[str]) -> list[Mutation]:
    mutations = read_mutations()
    if unknown := set(names) - {mutation.name for mutation in mutations}:
        sys.exit(f"no such mutation: {', '.join(sorted(unknown))}; see tests/mutations/")
    return [mutation for mutation in mutations if not names or mutation.name in names]


def show(outcomes: list[Outcome]) -> None:
    print("\n| mutation | verdict | by | seconds |\n|---|---|---|---|")
    for outcome in outcomes:
        first_line = outcome.detail.splitlines()[0]
        print(f"| {outcome.name} | {outcome.verdict} | {first_line} | {outcome.seconds:.0f} |")


def main(names: list[str]) -> int:
    mutations = choose(names)
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="spion-mutations-") as folder:
        project = ProjectCopy(Path(folder))
        unchanged = check_unchanged(project, mutations)
        for number, mutation in enumerate(mutations, start=1):
            outcome = try_mutation(project, mutation, unchanged)
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
