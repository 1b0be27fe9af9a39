"""Jobs of a cluster, through submitit's own local and debug executors, and a double of Slurm's."""

import os
import signal
import subprocess
import sys
import time

import pytest
import submitit
from submitit.core.utils import FailedJobError

from spion_bench.records.names import UsageError
from spion_bench.run.executors import slurm
from spion_bench.run.executors.parts import Part
from spion_bench.run.executors.slurm import (
    ClusterSettings,
    Commands,
    Submitted,
    read_settings,
    submit,
    wait,
)

TRAINED = Part("image-seed0", ("--task", "image"), False, ())
TIMED = Part("image-speed", ("--task", "image", "--pass", "speed"), True, ())


class FakeJob:
    def __init__(self, number, commands):
        self.job_id = f"100_{number}"
        self.commands = commands

    def done(self):
        return True


class FakeExecutor:
    """Records what it is asked, as Slurm's executor gets it."""

    def __init__(self, folder, cluster, **fields):
        self.folder, self.cluster, self.fields = folder, cluster, fields
        self.parameters, self.batches, self.open = {}, [], None
        made.append(self)

    def update_parameters(self, **fields):
        self.parameters |= fields

    def batch(self):
        return self

    def __enter__(self):
        self.open = []

    def __exit__(self, *error):
        self.batches.append((dict(self.parameters), self.open))

    def submit(self, commands):
        job = FakeJob(len(self.batches) * 10 + len(self.open), commands)
        self.open.append(job)
        return job


made = []


@pytest.fixture
def executor(monkeypatch):
    made.clear()
    monkeypatch.setattr(submitit, "AutoExecutor", FakeExecutor)
    return made


def test_timed_jobs_wait_for_the_others_and_have_a_node_for_themselves(executor, tmp_path):
    settings = ClusterSettings(
        partition="gpu", hours=2.0, at_once=3, parameters={"mail-type": "END"}
    )
    found = submit([TRAINED, TIMED], ("--threads", "8"), tmp_path, settings, threads=8, gpus=1)
    assert [each.part for each in found] == [TRAINED, TIMED]
    (only,) = executor
    (first, trained), (second, timed) = only.batches
    assert (only.cluster, only.folder) == ("slurm", tmp_path / "jobs")
    assert (first["slurm_partition"], first["timeout_min"]) == ("gpu", 120)
    assert (first["cpus_per_task"], first["gpus_per_node"]) == (8, 1)
    assert first["slurm_array_parallelism"] == 3
    assert first["slurm_additional_parameters"] == {"mail-type": "END"}
    assert "slurm_exclusive" not in first
    assert second["slurm_exclusive"] is True
    assert second["slurm_dependency"] == f"afterany:{trained[0].job_id}"
    assert [command[0] for command in trained[0].commands.commands] == ["run"]
    assert [command[0] for command in timed[0].commands.commands] == ["merge", "run"]
    assert (tmp_path / "jobs").stat().st_mode & 0o777 == 0o700


def test_a_refused_submission_names_what_was_taken_before(executor, tmp_path, monkeypatch):
    def refuse_timed(self, *error):
        if self.parameters.get("slurm_exclusive"):
            raise FailedJobError("sbatch: error: too many jobs")

    monkeypatch.setattr(FakeExecutor, "__exit__", refuse_timed)
    with pytest.raises(
        UsageError, match=r"no job for image-speed: sbatch: .* before: 100_0\. What"
    ):
        submit([TRAINED, TIMED], (), tmp_path, ClusterSettings(), threads=1, gpus=0)


def queued_job(name):
    job = object.__new__(submitit.SlurmJob)
    job._job_id, job._cancel_at_deletion = name, False
    return Submitted(TRAINED, job)


def test_jobs_are_over_when_the_queue_lists_them_no_more(monkeypatch):
    queues = [None, {"7_0", "7_1", "9"}, {"7_1"}, set()]  # None: no answer
    monkeypatch.setattr(slurm, "_queue", lambda: queues.pop(0))
    monkeypatch.setattr(slurm, "_POLL_S", 0.0)
    told = []
    wait([queued_job("7_0"), queued_job("7_1")], told.append)
    assert told == [2, 2, 1, 0]


@pytest.mark.parametrize(("code", "found"), [(0, {"7_0", "7_1"}), (1, None)])
def test_the_queue_is_what_squeue_says(tmp_path, monkeypatch, code, found):
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\nprintf '7_0\\n7_1\\n'\nexit {code}\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert slurm._queue() == found


def test_a_job_that_is_cut_off_is_queued_again_as_it_was():
    commands = Commands((("run", "--profile", "tiny"),))
    assert commands.checkpoint().function == commands


# submitit's own executor of that name leaves the files of its logs open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_debug_executor_runs_the_commands(tmp_path):
    job = submitit.AutoExecutor(tmp_path, cluster="debug").submit(Commands((("--version",),)))
    assert job.result() == 0


def test_local_executor_runs_the_commands_and_logs(tmp_path, monkeypatch):
    monkeypatch.setattr(Part, "commands", lambda *args, **fields: (("--version",), ("no-such",)))
    settings = ClusterSettings(cluster="local", hours=0.1)
    (found,) = submit([TRAINED], (), tmp_path, settings, threads=1, gpus=0)
    told = []
    wait([found], told.append)
    assert told[-1] == 0
    text = found.log.read_text("utf-8") + found.job.paths.stderr.read_text("utf-8")
    assert "version" in text
    assert "no-such" in text


def test_an_interrupt_reaches_the_command_that_runs(tmp_path):
    script = (
        "from spion_bench.run.executors import slurm\n"
        "import sys\n"
        "slurm.sys = type('S', (), {'executable': sys.argv[1]})\n"
        "slurm.Commands((('ignored',),))()\n"
    )
    sleeper = tmp_path / "sleeper"
    pid_file = tmp_path / "pid"
    sleeper.write_text(
        f"#!/bin/sh\necho $$ > {pid_file}.part && mv {pid_file}.part {pid_file}\nexec sleep 600\n"
    )
    sleeper.chmod(0o755)
    job = subprocess.Popen([sys.executable, "-c", script, str(sleeper)], stderr=subprocess.DEVNULL)
    while not pid_file.exists():
        time.sleep(0.05)
    job.send_signal(signal.SIGINT)
    assert job.wait(timeout=60) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("partitoin = 'gpu'", "partitoin"),
        ("hours = 0", "hours"),
        ("cluster = 'pbs'", "cluster"),
        ("= 3", "expected a TOML file"),
    ],
)
def test_wrong_settings_are_named(tmp_path, text, said):
    path = tmp_path / "cluster.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        read_settings(path)


def test_without_submitit_or_slurm_the_error_says_what_to_do(tmp_path, monkeypatch):
    settings = ClusterSettings()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="a node that submits jobs"):
        submit([TRAINED], (), tmp_path, settings, threads=1, gpus=0)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match=r"pip install 'spion_bench\[slurm\]'"):
        submit([TRAINED], (), tmp_path, settings, threads=1, gpus=0)
    assert slurm.read_settings(None) == settings
