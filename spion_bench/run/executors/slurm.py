"""Parts of a plan as jobs of a Slurm cluster, through submitit.

Each job runs ``spion-bench`` on its node, plans there, and writes records into a folder of its
own; the folders are merged by cell. submitit hands a job's commands, which are plain strings, to
the node in a pickle in a folder of the user alone; results are never read from its pickles.
"""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from spion_bench.records.names import UsageError
from spion_bench.records.settings import Settings, describe_problems
from spion_bench.run.executors.parts import Part

if TYPE_CHECKING:
    from submitit import AutoExecutor, Job
    from submitit.helpers import DelayedSubmission

_POLL_S = 2.0
_INTERRUPTED = 130


class ClusterSettings(Settings):
    """What jobs ask of a cluster, from a TOML file.

    Attributes:
        cluster: ``slurm``, or ``local`` to run the jobs as processes of this machine: a trial.
        partition: Slurm's partition; None for the cluster's own choice. So for the next two.
        account: Whom the hours are charged to.
        qos: Quality of service.
        hours: The limit of a job. One that is cut off, or pre-empted, is queued again and goes on
            where it stopped.
        requeues: How often a job may be cut off by its limit.
        memory_gb: Memory of a job in GB; None for the cluster's own choice.
        at_once: The most jobs of an array that run at a time.
        setup: Shell lines that come first, such as ``module load cuda/13.0``.
        parameters: More of ``sbatch``'s long options, without dashes.
    """

    cluster: Literal["slurm", "local"] = "slurm"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    hours: float = Field(24.0, gt=0)
    requeues: int = Field(10, ge=0)
    memory_gb: float | None = Field(None, gt=0)
    at_once: int = Field(8, ge=1)
    setup: list[str] = Field(default_factory=list)
    parameters: dict[str, str | int] = Field(default_factory=dict)


def read_settings(path: Path | None) -> ClusterSettings:
    """Return the settings of a TOML file; without one, the defaults.

    Raises:
        UsageError: If the file cannot be read or holds a wrong setting.
    """
    if path is None:
        return ClusterSettings()
    try:
        return ClusterSettings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise UsageError(f"{path}: {describe_problems(error)}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: expected a TOML file with settings of jobs: {error}") from error


@dataclass(frozen=True)
class Commands:
    """What a job runs: commands of ``spion-bench``, one after another."""

    commands: tuple[tuple[str, ...], ...]

    def __call__(self) -> int:
        """Run them and return the last exit code; an interrupt ends the one that runs."""
        code = 0
        for command in self.commands:
            with subprocess.Popen([sys.executable, "-m", "spion_bench", *command]) as child:
                try:
                    code = child.wait()
                except BaseException:  # the job is cut off: what has ended is stored
                    child.terminate()
                    raise
            if code == _INTERRUPTED:
                break
        return code

    def checkpoint(self) -> DelayedSubmission:
        """Return what is queued again after pre-emption: the same, which goes on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@dataclass(frozen=True)
class Submitted:
    """A part whose job was handed to the cluster."""

    part: Part
    job: Job[int]

    @property
    def log(self) -> Path:
        """What the job prints."""
        return Path(self.job.paths.stdout)


def submit(
    parts: Sequence[Part],
    options: Sequence[str],
    folder: Path,
    settings: ClusterSettings,
    *,
    threads: int,
    gpus: int,
) -> list[Submitted]:
    """Hand every part to the cluster, in an array of untimed and one of timed parts.

    Timed parts start when all others have ended, on a node of their own.

    Args:
        parts: From ``parts_of``.
        options: Options of ``run`` that all parts share.
        folder: Where each part gets a folder.
        settings: What jobs ask for.
        threads: CPUs of a job.
        gpus: GPUs of a job.

    Raises:
        UsageError: If submitit is missing, the cluster's commands are, or it takes no more jobs.
    """
    executor = _executor(folder, settings, threads=threads, gpus=gpus)
    untimed = [part for part in parts if not part.is_timed]
    timed = [part for part in parts if part.is_timed]
    found = _submit(executor, untimed, options, folder)
    if settings.cluster == "local":  # nothing else keeps timed jobs apart
        for part in timed:
            wait(found)
            found += _submit(executor, [part], options, folder, after=found)
        return found
    if found:
        executor.update_parameters(
            slurm_dependency="afterany:" + ":".join(each.job.job_id for each in found)
        )
    executor.update_parameters(slurm_exclusive=True)
    return [*found, *_submit(executor, timed, options, folder, after=found)]


def wait(submitted: Sequence[Submitted], shown: Callable[[int], None] = lambda left: None) -> None:
    """Wait until every job has ended, telling how many are left.

    A job of a cluster has ended when its queue does not list it: so the wait is over for a job that
    was lost or cancelled too, and where the cluster keeps no accounts.
    """
    from submitit import SlurmJob

    while True:
        in_queue = _queue() if any(isinstance(each.job, SlurmJob) for each in submitted) else None
        left = sum(
            in_queue is None or each.job.job_id in in_queue
            if isinstance(each.job, SlurmJob)
            else not each.job.done()
            for each in submitted
        )
        shown(left)
        if not left:
            return
        time.sleep(_POLL_S)


def _queue() -> set[str] | None:
    """Return the jobs that the cluster's queue lists; None while it does not answer."""
    command = ("squeue", "--me", "--noheader", "--array", "--format=%i")
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return set(found.stdout.split()) if found.returncode == 0 else None


def _submit(
    executor: AutoExecutor,
    parts: Sequence[Part],
    options: Sequence[str],
    folder: Path,
    after: Sequence[Submitted] = (),
) -> list[Submitted]:
    if not parts:
        return []
    from submitit.core.utils import FailedJobError

    commands = [part.commands(options, folder, takes_over=bool(after)) for part in parts]
    try:
        with executor.batch():
            jobs = [executor.submit(Commands(each)) for each in commands]
    except FailedJobError as error:
        before = ", ".join(each.job.job_id for each in after) or "none"
        raise UsageError(
            f"--executor slurm: the cluster took no job for {', '.join(p.name for p in parts)}: "
            f"{str(error).strip()}; jobs that it took before: {before}. What these store stays: "
            "run the same command again when it takes jobs"
        ) from error
    return [Submitted(part, job) for part, job in zip(parts, jobs, strict=True)]


def _executor(folder: Path, settings: ClusterSettings, *, threads: int, gpus: int) -> AutoExecutor:
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise UsageError(
            "--executor slurm: the package submitit is missing: pip install 'spion_bench[slurm]'"
        ) from error
    jobs = folder / "jobs"
    jobs.mkdir(parents=True, exist_ok=True)
    jobs.chmod(0o700)  # a node runs what lies here
    try:
        executor = submitit.AutoExecutor(
            folder=jobs, cluster=settings.cluster, slurm_max_num_timeout=settings.requeues
        )
    except RuntimeError as error:
        raise UsageError(f"--executor slurm: {error}; is this a node that submits jobs?") from error
    asked = {
        "name": "spion-bench",
        "timeout_min": max(1, round(settings.hours * 60)),
        "cpus_per_task": threads,
        "gpus_per_node": gpus,
        "mem_gb": settings.memory_gb,
        "slurm_partition": settings.partition,
        "slurm_account": settings.account,
        "slurm_qos": settings.qos,
        "slurm_array_parallelism": settings.at_once,
        "slurm_setup": settings.setup or None,
        "slurm_additional_parameters": dict(settings.parameters),
    }
    executor.update_parameters(**{name: v for name, v in asked.items() if v is not None})
    return executor
