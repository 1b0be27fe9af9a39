"""The campaign: run after run is disturbed at a random moment; nothing stored may suffer."""

import contextlib
import os
import random
import signal
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from spion_bench.records import latest_by_cell, read_records
from spion_bench.suite.plan import Machine, expand
from spion_bench.suite.profile import load_profile
from spion_bench.suite.profiles.ask import Filters
from tests.survival.processes import (
    BUSY,
    DONE,
    children_of,
    digest_of,
    fork_runner,
    send,
    tagged,
    wait_for,
)

KILL, TERM, INT, STOP = signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSTOP
SIGNALS = {
    "SIGKILL to the runner": ("runner", KILL),
    "SIGTERM to the runner": ("runner", TERM),
    "SIGINT to the runner": ("runner", INT),
    "SIGSTOP, SIGKILL to the runner": ("runner", STOP, KILL),
    "SIGKILL to a worker": ("worker", KILL),
    "SIGTERM to a worker": ("worker", TERM),
    "SIGSTOP to a worker": ("worker", STOP),
    "SIGSTOP to a worker, SIGKILL to the runner": ("both",),
    "SIGINT to the runner's group": ("group", INT),
    "SIGTERM to the runner's group": ("group", TERM),
    "SIGKILL to the runner's group": ("group", KILL),
}
OTHERS = ("full disk", "two runners", "clock set back")
TORCHLESS_PASSES = ("gate", "prefix", "accuracy", "speed")
DETERMINISTIC = ("final_train_loss", "test_accuracy", "dev_accuracy")
FREE_BYTES = 2 << 20
ROOM_BYTES = 8192
LONGEST_DELAY = 1 / 3  # of an undisturbed run
END_S = 30.0
PLAN_S = 1800.0


@dataclass
class Figures:
    """What a campaign found. All of ``FAILURES`` must be 0."""

    rounds: int = 0
    disturbances: Counter = field(default_factory=Counter)
    disturbed_at_work: int = 0
    plans_finished: int = 0
    records_acknowledged: int = 0
    partial_lines_of_killed_writers: int = 0
    records_lost: int = 0
    records_duplicated: int = 0
    orphans: int = 0
    leftovers: int = 0
    differences: int = 0
    partial_lines_on_a_full_disk: int = 0
    second_runners_let_in: int = 0
    runners_that_hung: int = 0


FAILURES = (
    *("records_lost", "records_duplicated", "orphans", "leftovers", "differences"),
    *("partial_lines_on_a_full_disk", "second_runners_let_in", "runners_that_hung"),
)


class Campaign:
    """Disturbs runs of one plan, again and again.

    Args:
        folder: An empty folder.
        seed: Of all that is random.
        is_real: Whether workers measure, or only pretend, which is faster by far.
    """

    def __init__(self, folder, seed, *, is_real=False):
        self.figures = Figures()
        self._folder, self._is_real = folder, is_real
        self._random = random.Random(seed)
        machine = Machine("cpu", 2, name="survival")
        self._cells = expand(load_profile("tiny"), machine, Filters(passes=TORCHLESS_PASSES))
        self._tag = uuid.uuid4().hex
        self._number = 0
        self._kinds = []
        began = time.monotonic()
        self._reference = self._finish("reference")
        self._whole_s = time.monotonic() - began
        self._begin()

    def round(self):
        """Start a run, disturb it, and look at what it left."""
        if not self._kinds:
            self._kinds = [*SIGNALS, *OTHERS]
            self._random.shuffle(self._kinds)
        kind = self._kinds.pop()
        self.figures.rounds += 1
        self.figures.disturbances[kind] += 1
        before = self._damaged_lines()
        code = self._disturb(kind)
        self.figures.runners_that_hung += code is None
        self.figures.disturbed_at_work += code != DONE
        grown = self._damaged_lines() - before
        if kind == "full disk":
            self.figures.partial_lines_on_a_full_disk += grown
        else:
            self.figures.partial_lines_of_killed_writers += grown
        self._count_orphans()
        self._check_records()
        if code == DONE:
            self._close()
            self._begin()

    def close(self):
        """Finish the last run undisturbed, and compare it."""
        self._close()

    def _begin(self):
        self._number += 1
        self._out = self._folder / f"run{self._number}"
        self._notes = self._folder / f"run{self._number}.stored"

    def _start(self, **options):
        options = {"tag": self._tag, "notes": self._notes, "is_real": self._is_real, **options}
        options["workers"] = self._random.choice((1, 3))
        return fork_runner(self._out, self._cells, **options)

    def _disturb(self, kind):
        delay = self._random.uniform(0.0, LONGEST_DELAY * self._whole_s)
        if kind == "full disk":
            return self._fill_disk()
        if kind == "clock set back":
            runner = self._start(clock_back_s=self._random.uniform(1, 1e6))
            time.sleep(delay)
            send(runner, TERM)
            return wait_for(runner, END_S)
        runner = self._start()
        time.sleep(delay)
        if kind == "two runners":
            second = wait_for(self._start(), END_S)
            # The first one may have finished before the second one came.
            self.figures.second_runners_let_in += second != BUSY and bool(children_of(runner))
            send(runner, TERM)
            return wait_for(runner, END_S)
        target, *numbers = SIGNALS[kind]
        if target in ("worker", "both"):
            workers = children_of(runner)
            if workers:
                send(self._random.choice(workers), *(numbers or (STOP,)))
            if target == "worker":
                time.sleep(delay)
            send(runner, KILL if target == "both" else TERM)
        else:
            send(runner, *numbers, group=target == "group")
        return wait_for(runner, END_S)

    def _fill_disk(self):
        room = self._random.randrange(ROOM_BYTES)
        records = self._out / "records.jsonl"
        if not self._out.exists() or not (disk := small_disk(self._out)):
            size = records.stat().st_size if records.exists() else 0
            return wait_for(self._start(file_limit=size + room), PLAN_S)
        with disk:
            ballast = self._out / "ballast"
            with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(bytes(1024)):
                    pass
            os.truncate(ballast, max(0, ballast.stat().st_size - room))
            code = wait_for(self._start(), PLAN_S)
            ballast.unlink()
        return code

    def _damaged_lines(self):
        records = self._out / "records.jsonl"
        return len(read_records(records)[1]) if records.exists() else 0

    def _count_orphans(self):
        end = time.monotonic() + END_S
        while (left := tagged(self._tag)) and time.monotonic() < end:
            time.sleep(0.02)
        self.figures.orphans += len(left)
        for pid in left:
            send(pid, KILL)

    def _check_records(self):
        records = self._out / "records.jsonl"
        stored = read_records(records)[0] if records.exists() else []
        digests = Counter(map(digest_of, stored))
        noted = self._notes.read_text().split() if self._notes.exists() else []
        self.figures.records_lost += sum(digest not in digests for digest in noted)
        good = Counter(r.key for r in stored if r.is_ok and r.cell.pass_name != "speed")
        self.figures.records_duplicated += sum(n - 1 for n in digests.values())
        self.figures.records_duplicated += sum(n - 1 for n in good.values())

    def _close(self):
        found = self._finish(self._out.name)
        self._count_orphans()
        self._check_records()
        self.figures.records_acknowledged += len(self._notes.read_text().split())
        self.figures.leftovers += len(list(self._out.rglob("*.tmp")))
        self.figures.differences += sum(
            found.get(cell.key) != self._reference[cell.key] for cell in self._cells
        )
        self.figures.plans_finished += 1

    def _finish(self, name):
        """Run the plan undisturbed to its end; return what must be the same in every run."""
        self._out, self._notes = self._folder / name, self._folder / f"{name}.stored"
        code = wait_for(self._start(), PLAN_S)
        if code != DONE:
            log = Path(f"{self._notes}.log").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"an undisturbed run ended with {code}: {log}")
        return {
            key: (record.measurement.status, _numbers(record), _artifacts(record))
            for key, record in latest_by_cell(read_records(self._out / "records.jsonl")[0]).items()
        }


def _numbers(record):
    metrics = record.measurement.metrics
    return {name: metrics[name].value for name in DETERMINISTIC if name in metrics}


def _artifacts(record):
    files = record.measurement.artifacts.items()
    return {name: digest for name, digest in files if name.endswith(".npz")}


def small_disk(folder):
    """Return a context in which ``folder`` is on a small file system, or None without the right."""
    disk = Path(tempfile.mkdtemp(dir=folder.parent))
    # A tmpfs counts whole pages, so each file may take up to one more than it holds.
    held = sum(file.stat().st_blocks * 512 for file in folder.rglob("*"))
    size = f"size={2 * held + FREE_BYTES}"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "survival", str(disk)],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        disk.rmdir()
        return None
    return _on_disk(folder, disk)


@contextlib.contextmanager
def _on_disk(folder, disk):
    kept = disk.with_name(f"{disk.name}.kept")
    subprocess.run(["cp", "-a", f"{folder}/.", str(disk)], check=True)
    folder.rename(kept)
    folder.symlink_to(disk)
    try:
        yield
    finally:
        folder.unlink()
        subprocess.run(["rm", "-rf", str(kept)], check=True)
        subprocess.run(["cp", "-a", f"{disk}/.", str(folder)], check=True)
        subprocess.run(["umount", str(disk)], check=True)
        disk.rmdir()
