"""The sides of a comparison of commits, and the processes that measure them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any

from pydantic import AllowInfNan, BaseModel, Field, PositiveFloat, TypeAdapter

from spion_bench.measure.answers import AnswerError, read_answer
from spion_bench.measure.machine import shell_affinity, worker_environment
from spion_bench.records.names import UsageError

PACKAGE = Path(__file__).resolve().parents[1]
BENCHMARKS = PACKAGE / "asv_suite"
CLOCK = PACKAGE / "measure" / "clock.py"
WORKER = PACKAGE / "compare" / "worker.py"
START_S = 600.0  # imports alone, but perhaps on a busy machine
TURN_S = 300.0
BUILD_S = 1800.0


class Ready(BaseModel):
    """What a worker says first: where its package lies, the torch version, its cases."""

    package: str
    torch: str
    cases: list[str]


class Samples(BaseModel):
    """A worker's answer to a request."""

    samples_ms: list[Annotated[PositiveFloat, AllowInfNan(False)]] = Field(min_length=1)


class Problem(BaseModel):
    """Why there are no samples."""

    problem: str


READY: TypeAdapter[Ready] = TypeAdapter(Ready)
TAKEN: TypeAdapter[Samples | Problem] = TypeAdapter(Samples | Problem)


class SideError(RuntimeError):
    """A side of the comparison cannot be measured at all; the message says why."""


@dataclass(frozen=True)
class Side:
    """What one worker measures.

    Attributes:
        name: What it is called.
        root: The folder in which its package lies.
        benchmarks: The folder of benchmarks that run in front of it.
    """

    name: str
    root: Path
    benchmarks: Path = BENCHMARKS

    def environment(self, threads: int) -> dict[str, str]:
        """Return the environment of its processes."""
        return {**worker_environment(threads), "PYTHONPATH": str(self.root)}

    def probe(self, threads: int) -> dict[str, Any]:
        """Start a worker; return its torch version and the cases that it can measure."""
        worker = Worker(self, threads)
        try:
            return worker.wait_ready()
        finally:
            worker.end()

    def build(self, threads: int) -> None:
        """Compile its kernels, unless they are cached.

        Raises:
            SideError: If they do not compile.
        """
        command = [sys.executable, "-P", str(BENCHMARKS / "first_use.py")]
        try:
            done = subprocess.run(
                command,
                env=self.environment(threads),
                timeout=BUILD_S,
                check=False,
                stdout=sys.stderr,
            )
        except subprocess.TimeoutExpired as error:
            raise SideError(
                f"{self.name}: its kernels took more than {BUILD_S:g} s to build; try again when "
                "the machine is idle, what is built is kept"
            ) from error
        if done.returncode != 0:
            raise SideError(f"{self.name}: its kernels could not be built and used, see above")


class Worker:
    """A process that measures one side.

    Raises:
        SideError: If it does not start, or runs a different package.
    """

    def __init__(self, side: Side, threads: int) -> None:
        self._side = side
        command = [sys.executable, "-P", str(WORKER), str(side.benchmarks), str(CLOCK)]
        with shell_affinity():
            self._process = subprocess.Popen(
                command,
                env=side.environment(threads),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                process_group=0,  # what it starts ends with it
            )

    def wait_ready(self) -> dict[str, Any]:
        """Wait until everything is imported; return the torch version and the cases."""
        said = self._read(READY, START_S)
        if Path(said["package"]) != self._side.root.resolve():
            raise SideError(
                f"{self._side.name}: expected the package in {self._side.root}, got the one in "
                f"{said['package']}; is PYTHONPATH ignored here?"
            )
        return said

    def turn(self, request: dict[str, Any]) -> dict[str, Any]:
        """Let it time one case; return its samples, or its problem."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended; reading says so, and of which side
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
        return self._read(TAKEN, TURN_S)

    def end(self) -> None:
        """End it, and what it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _read(self, kind: TypeAdapter[Any], seconds: float) -> dict[str, Any]:
        try:
            answer: BaseModel = kind.validate_json(read_answer(self._process, seconds))
        except (AnswerError, ValueError) as error:
            said = str(error).splitlines()[0]
            raise SideError(f"{self._side.name}: its worker: {said}, see above") from error
        return answer.model_dump()


def choose_cases(patterns: tuple[str, ...], known: list[str]) -> list[str]:
    """Return the known cases that match any pattern.

    Raises:
        UsageError: If a pattern matches none.
    """
    for pattern in patterns:
        if not any(fnmatch(case, pattern) for case in known):
            raise UsageError(f"--cases {pattern}: expected one of {', '.join(known)}, or a pattern")
    return [case for case in known if any(fnmatch(case, pattern) for pattern in patterns)]
