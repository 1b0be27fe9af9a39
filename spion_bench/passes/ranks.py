"""One cell trained by several processes: its worker, and others that the worker starts and joins.

All of them prepare the cell's subject and train on their share of every batch (``train.ranks``).
The worker alone reports, stores and answers. The others end with it, because they are in its
process group, and it fails with the reason of the one that fails, not of those that lose it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import traceback
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

import torch
import torch.distributed as dist

from spion_bench.model.attention import UnavailableError
from spion_bench.passes.session import Job, OnProgress
from spion_bench.passes.task_session import TaskSession
from spion_bench.records import TaskCell
from spion_bench.suite.method import load_object
from spion_bench.suite.passes import PASSES
from spion_bench.train import NonFiniteLossError, ProgressEvent
from spion_bench.train.ranks import ALONE, Ranks, meeting

BOOT = "import sys; sys.path[:] = sys.argv[3:]; from spion_bench.passes.ranks import main; main()"
READY = "ready"
FAULT_GRACE_S = 3.0
LOST_ANOTHER = 3
"""Exit code of a process that failed because it lost another one."""


class RankError(RuntimeError):
    """A process that trained with the worker failed."""


class TrainingSession(TaskSession):
    """A method that is trained on a task, by as many processes as its cell asks for."""

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        super().__init__(job, on_progress)
        self._job = job

    def measure(self) -> None:
        """Train, or continue interrupted training.

        Raises:
            NonFiniteLossError: If a training loss is NaN or infinite.
            UnavailableError: If there are fewer GPUs than processes.
            RankError: If another process fails.
        """
        with together(self._job) as ranks:
            self.train(ranks)

    @abstractmethod
    def train(self, ranks: Ranks) -> None:
        """Train as one of ``ranks``."""


@contextmanager
def together(job: Job) -> Iterator[Ranks]:
    """Start the other processes that train a cell, join them, and see them end.

    Raises:
        UnavailableError: If there are fewer GPUs than processes.
        RankError: If one of them fails, with its reason.
    """
    cell = job.cell
    count = cell.processes if isinstance(cell, TaskCell) else 1
    if count == 1:
        yield ALONE
        return
    if cell.device == "cuda" and torch.cuda.device_count() < count:
        raise UnavailableError(
            f"{count} processes train this cell with a GPU each, and torch sees "
            f"{torch.cuda.device_count()}; ask for fewer with --processes-per-cell"
        )
    # One machine: neither a host name nor a network is needed.
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(name, "lo")
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "meeting"
        others = [stack.enter_context(_Other(job, rank, place)) for rank in range(1, count)]
        for other in others:
            other.await_ready()
        try:
            with meeting(0, count, place) as ranks:
                yield ranks
                for other in others:
                    other.await_end()
        except NonFiniteLossError:
            raise
        except Exception as error:
            failed = [other for other in others if other.has_failed()]
            if not failed:
                raise
            cause = min(failed, key=lambda other: other.has_lost_another)
            raise RankError(cause.end()) from error


class _Other:
    """Another process that trains the cell, from the worker's side."""

    def __init__(self, job: Job, rank: int, place: Path) -> None:
        self._job, self._rank, self._place = job, rank, place
        self._said = ""

    def __enter__(self) -> _Other:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", BOOT, str(self._rank), str(self._place), *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        # One that has ended is noticed when it is awaited.
        with suppress(BrokenPipeError), self._process.stdin as requests:
            requests.write(self._job.model_dump_json())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        with self._process:  # closes its pipe and waits
            pass

    def await_ready(self) -> None:
        """Wait until it has prepared what it trains; RankError says why it has not."""
        assert self._process.stdout is not None
        self._said = self._process.stdout.readline()
        if self._said.strip() != READY:
            raise RankError(self.end())
        self._said = ""

    def await_end(self) -> None:
        """Wait until it has trained; RankError says why it has not."""
        end = self.end()
        if self._process.returncode:
            raise RankError(end)

    def has_failed(self) -> bool:
        """Return whether it has failed, or does in a moment: all fail when one does."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(FAULT_GRACE_S) != 0
        return False

    @property
    def has_lost_another(self) -> bool:
        """Whether it failed because another process was gone."""
        return self._process.returncode == LOST_ANOTHER

    def end(self) -> str:
        """Wait for its end, and return it in words."""
        assert self._process.stdout is not None
        self._said += self._process.stdout.read()
        self._process.wait()
        ended = self._said.strip() or f"exit code {self._process.returncode}"
        return f"process {self._rank + 1} of those that train together ended: {ended}"


def main() -> None:
    """Train as one of several processes: the job comes as JSON on stdin.

    Says when it is ready, and why it fails, on what was its stdout; what libraries print goes to
    stderr, the worker's log.
    """
    rank, place = int(sys.argv[1]), Path(sys.argv[2])
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as told:
        os.dup2(2, 1)
        try:
            _train(Job.model_validate_json(sys.stdin.read()), rank, place, told)
        except NonFiniteLossError:
            pass  # all processes meet it, and the worker says so
        except Exception as error:
            traceback.print_exc()
            first_line = str(error).partition("\n")[0]
            print(f"{type(error).__name__}: {first_line}", file=told)
            raise SystemExit(LOST_ANOTHER if lost_another(error) else 1) from error


def lost_another(error: Exception) -> bool:
    """Return whether ``error`` says that another process was gone, as gloo and NCCL put it."""
    said = str(error)
    return isinstance(error, dist.DistError) or "gloo" in said or "closed by peer" in said


def _train(job: Job, rank: int, place: Path, told: TextIO) -> None:
    cell = job.cell
    if not isinstance(cell, TaskCell):
        raise ValueError(f"cell {cell.key}: expected a task cell, got a kernel cell")
    torch.set_num_threads(cell.threads)
    if cell.device == "cuda":
        torch.cuda.set_device(rank)
    entry = PASSES[cell.pass_name]
    torch.backends.cudnn.benchmark = not entry.deterministic
    session = load_object(entry.session)(job, _tell_nobody)
    print(READY, file=told, flush=True)
    with meeting(rank, cell.processes, place) as ranks:
        session.train(ranks)


def _tell_nobody(event: ProgressEvent) -> None:
    """Progress is the worker's to report."""
