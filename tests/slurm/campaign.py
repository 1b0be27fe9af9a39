"""Jobs of a real Slurm are pre-empted, cancelled, lost and collected twice; nothing may suffer."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from spion_bench.records import latest_by_cell, read_records
from spion_bench.records.store import Store

PROFILE = """
name = "cluster"
description = "a small profile in some jobs"

[[cells]]
passes = ["accuracy"]
task = "image"
options = { source = "digits", length = 256, n_train = 256, n_dev = 64, n_test = 64 }
methods = ["dense_sdpa", "spion_cf"]
seeds = [0, 1, 2]
model = { layers = 1 }
train = { steps = 80, batch_size = 16, learning_rate = 1e-3, warmup_steps = 10, eval_every = 20, \
latest_transition_step = 30, eval_batch_size = 32 }
spion = { block_size = 16, quantile = 0.9 }
timeout_s = 300

[[cells]]
passes = ["speed"]
task = "image"
options = { source = "digits", length = 256, n_train = 64, n_dev = 32, n_test = 32 }
methods = ["dense_sdpa", "spion_cf"]
seeds = [0]
model = { layers = 1 }
spion = { block_size = 32, quantile = 0.9 }
measure = { batch_size = 2, rounds = 2, most_rounds = 2, warmup_s = 0.0, round_s = 0.0, \
min_samples = 2 }
timeout_s = 120
"""
DETERMINISTIC = ("final_train_loss", "test_accuracy", "dev_accuracy")
TRAINED = ("prefix", "accuracy")
POLL_S = 0.5
DELAYS_S = (2.0, 12.0)
END_S = 10.0
MOST_SUBMISSIONS = 8  # of a round, each when the queue is empty and cells are missing


@dataclass
class Figures:
    """What a campaign found. All of ``FAILURES`` must be 0."""

    rounds: int = 0
    disturbances: Counter = field(default_factory=Counter)
    submissions: int = 0
    records_acknowledged: int = 0
    records_lost: int = 0
    cells_trained_twice: int = 0
    cells_missing: int = 0
    differences: int = 0
    collectors_that_failed: int = 0
    orphans: int = 0


FAILURES = (
    *("records_lost", "cells_trained_twice", "cells_missing", "differences"),
    *("collectors_that_failed", "orphans"),
)


class Campaign:
    """Runs one plan on a cluster, again and again, and disturbs it.

    Args:
        cluster: The cluster.
        folder: An empty folder.
        seed: Of all that is random.
    """

    def __init__(self, cluster, folder, seed):
        self.figures = Figures()
        self._cluster, self._folder = cluster, folder
        self._random = random.Random(seed)
        self._acknowledged = {}
        profile, settings = folder / "cluster.toml", folder / "slurm.toml"
        profile.write_text(PROFILE, encoding="utf-8")
        settings.write_text("hours = 0.5\n", encoding="utf-8")
        self._options = ("--profile", profile, "--threads", 1)
        self._on_cluster = ("--executor", "slurm", "--slurm", settings)
        self._disturbances = {
            "pre-empted: signal": self._signal,
            "pre-empted: queued again": self._requeue,
            "job cancelled": self._cancel,
            "runner killed in its job": self._kill_runner,
            "node lost": self._lose_node,
            "two collectors at once": self._collect_twice,
            "submitted again meanwhile": self._submit,
        }

    def refuse(self):
        """Return what a user reads when the cluster takes no jobs."""
        self._cluster.say("scontrol", "update", "PartitionName=debug", "State=INACTIVE")
        done = self._run(
            "run", *self._options, *self._on_cluster, "--out", self._folder / "refused"
        )
        self._cluster.say("scontrol", "update", "PartitionName=debug", "State=UP")
        if done.returncode != 2 or "the cluster took no job" not in done.stderr:
            raise AssertionError(f"a refusal ended with {done.returncode}: {done.stderr}")
        return done.stderr.strip().splitlines()[-1]

    def reference(self):
        """Run the plan undisturbed, without a cluster, and keep what it found."""
        out = self._folder / "reference"
        done = self._run("run", *self._options, "--out", out, "--no-report")
        if done.returncode:
            raise AssertionError(f"the undisturbed run failed: {done.stdout}\n{done.stderr}")
        self._expected = found_in(out)

    def round(self):
        """Run the plan once on the cluster, disturbed, until every cell has its record."""
        self._out = self._folder / f"round{self.figures.rounds}"
        self._parts = self._out.with_name(f"{self._out.name}-parts")
        self._acknowledged = {}
        self.figures.rounds += 1
        left = list(self._disturbances)
        self._random.shuffle(left)
        for _ in range(MOST_SUBMISSIONS):
            self._submit()
            while self._cluster.queued():
                if left and self._pauses():
                    name = left.pop()
                    self._disturbances[name]()
                    self.figures.disturbances[name] += 1
                self._look()
                time.sleep(POLL_S)
            self._collect()
            missing = self._expected.keys() - found_in(self._out).keys()
            if not missing:
                break
        self.figures.cells_missing += len(missing)
        self._judge()

    def _pauses(self):
        """Wait a random time; return whether jobs are still there."""
        until = time.monotonic() + self._random.uniform(*DELAYS_S)
        while time.monotonic() < until and self._cluster.queued():
            self._look()
            time.sleep(POLL_S)
        return bool(self._running())

    def _judge(self):
        found = found_in(self._out)
        self.figures.differences += sum(
            found[key] != expected for key, expected in self._expected.items() if key in found
        )
        trained = Counter(
            record.key
            for part in self._parts.glob("*-seed*/records.jsonl")  # others take these over
            for record in read_records(part)[0]
            if record.is_ok and record.cell.pass_name in TRAINED
        )
        self.figures.cells_trained_twice += sum(count - 1 for count in trained.values())
        deadline = time.monotonic() + END_S
        while (left := self._cluster.processes("SLURM_JOB_ID=")) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        self.figures.orphans += len(left)
        for pid in left:
            print(pid, self._cluster.told(pid, "cmdline"), file=sys.stderr)

    def _look(self):
        """See whether everything that was once stored is still there."""
        seen = set()
        for path in self._parts.glob("*/records.jsonl"):
            for record in latest_by_cell(read_records(path)[0]).values():
                if record.is_ok:
                    seen.add((path.parent.name, record.key))
        known = self._acknowledged.setdefault(self._out.name, set())
        self.figures.records_lost += len(known - seen)
        self.figures.records_acknowledged += len(seen - known)
        self._acknowledged[self._out.name] = known | seen

    def _running(self):
        return [job for job, state in self._cluster.queued().items() if state == "RUNNING"]

    def _one_running(self):
        running = self._running()
        return self._random.choice(running) if running else "0"

    def _signal(self):
        self._cluster.say("scancel", "--signal=USR2", self._one_running())

    def _requeue(self):
        self._cluster.say("scontrol", "requeue", self._one_running())

    def _cancel(self):
        self._cluster.say("scancel", self._one_running())

    def _kill_runner(self):
        runners = self._cluster.processes("spion_bench\0run", "cmdline")
        jobs = self._cluster.processes("SLURM_JOB_ID=")
        if victims := sorted(runners & jobs):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._random.choice(victims), signal.SIGKILL)

    def _lose_node(self):
        self._cluster.lose_node()
        time.sleep(self._random.uniform(0.0, 15.0))  # the cluster notices, or it does not
        self._cluster.start_node()

    def _collect_twice(self):
        while not any(self._parts.glob("*/records.jsonl")):  # there is nothing to collect
            time.sleep(POLL_S)
        command = self._command("merge", self._parts, "--out", self._out)
        both = [self._start(command) for _ in range(2)]
        for each in both:
            said, problem = each.communicate()
            if each.returncode and "another run is writing here" not in problem + said:
                self.figures.collectors_that_failed += 1
                print(said, problem, file=sys.stderr)

    def _collect(self):
        done = self._run("merge", self._parts, "--out", self._out)
        if done.returncode:
            self.figures.collectors_that_failed += 1
            print(done.stdout, done.stderr, file=sys.stderr)

    def _submit(self):
        done = self._run("run", *self._options, *self._on_cluster, "--out", self._out)
        if done.returncode:
            raise AssertionError(f"submitting ended with {done.returncode}: {done.stderr}")
        self.figures.submissions += 1

    def _command(self, *arguments):
        return [sys.executable, "-m", "spion_bench", *(str(argument) for argument in arguments)]

    def _start(self, command):
        return subprocess.Popen(
            command,
            env=self._cluster.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _run(self, *arguments):
        started = self._start(self._command(*arguments))
        said, problem = started.communicate()
        return subprocess.CompletedProcess(started.args, started.returncode, said, problem)


def found_in(out):
    """Return by cell what must be equal in every run of the plan.

    Gates are left out: a job's cells are checked in their own workers.
    """
    return {
        record.key: {
            name: metric.value
            for name, metric in record.measurement.metrics.items()
            if name in DETERMINISTIC
        }
        for record in latest_by_cell(Store(out).records).values()
        if record.is_ok and record.cell.pass_name != "gate"
    }
