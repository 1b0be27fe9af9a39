"""The processes of the campaign: runners that are forked, their workers, what is left of them."""

import contextlib
import functools
import hashlib
import itertools
import os
import resource
import signal
import sys
import time
import traceback
from datetime import timedelta
from pathlib import Path

from spion_bench.measure.machine import SHELL_CPUS
from spion_bench.records import now
from spion_bench.records.store import BusyError, Store
from spion_bench.run import runner as runner_module
from spion_bench.run.child import Child
from spion_bench.run.conduct import conduct, start_child
from spion_bench.run.executors.executor import OneByOne
from spion_bench.run.executors.places import Place
from spion_bench.run.executors.side_by_side import SideBySide
from spion_bench.run.interrupts import interrupt_on_sigterm
from spion_bench.run.runner import Runner
from tests.cells import ENVIRONMENT

TAG = "SPION_BENCH_SURVIVAL"
"""Environment variable by which a campaign knows the processes that its runners started."""

DONE, FAILED, BUSY, INTERRUPTED = 0, 1, 3, 130
BOOT = "import sys; sys.path[:] = sys.argv[2:]; from tests.survival.worker import main; main()"


class Acknowledged:
    """A display that notes in a file which records were stored, once they are."""

    def __init__(self, path):
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def begin(self, total, done):
        pass

    def start(self, cells):
        pass

    def event(self, cell, event):
        pass

    def finish(self, cell, record):
        os.write(self._descriptor, f"{digest_of(record)}\n".encode())


class Quiet:
    """A sampler that sees no load: what else runs must not change how many rounds there are."""

    cpus = 1

    def start(self):
        pass

    def stop(self):
        return 0.0


def digest_of(record):
    """Return what tells a record from every other."""
    return hashlib.sha256(record.model_dump_json().encode()).hexdigest()


def start_pretender(job):
    """Start a worker that pretends to measure."""
    command = (sys.executable, "-P", "-c", BOOT)
    return Child(job, Path(job.out) / "logs" / f"{job.cell.key}.log", command=command)


def fork_runner(out, cells, *, tag, notes, is_real, workers=1, clock_back_s=0.0, file_limit=None):
    """Start a runner in a process of its own, and return its number.

    Args:
        out: The folder of results.
        cells: The plan.
        tag: What marks its workers.
        notes: The file for what was stored.
        is_real: Whether workers measure, or only pretend.
        workers: How many run side by side.
        clock_back_s: How far its clock goes back with every reading.
        file_limit: Bytes that no file may exceed, or None.
    """
    pid = os.fork()
    if pid != 0:
        return pid
    code = FAILED
    try:
        os.setpgid(0, 0)  # as a shell does
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with open(f"{notes}.log", "ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.environ[TAG] = tag
        if file_limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
        if clock_back_s:
            readings = itertools.count(1)
            runner_module.now = lambda: now() - timedelta(seconds=clock_back_s * next(readings))
        code = _run(out, cells, notes, is_real, workers)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BusyError:
        code = BUSY
    except OSError:
        traceback.print_exc()  # what the command line shows in one sentence
    finally:
        os._exit(code)


def _run(out, cells, notes, is_real, workers):
    start = start_child if is_real else start_pretender
    store = Store(out)
    with store.locked(), interrupt_on_sigterm():
        run = functools.partial(conduct, start=start, make_sampler=Quiet)
        executor = OneByOne(run)
        if workers > 1:
            everywhere = [Place(SHELL_CPUS)] * workers
            executor = SideBySide(everywhere, lambda job, place: start(job), run)
        records = Runner(store, ENVIRONMENT, Acknowledged(notes), executor=executor).run(cells)
    bad = [record.measurement for record in records if not record.is_ok]
    for measurement in bad:
        print(measurement.status, measurement.reason)
    sys.stdout.flush()
    return FAILED if bad else DONE


def children_of(pid):
    """Return the numbers of a process's children."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def tagged(tag):
    """Return the numbers of the processes that a runner with this tag started, zombies aside."""
    wanted, found = f"{TAG}={tag}".encode(), []
    for entry in os.scandir("/proc"):
        try:
            with open(f"{entry.path}/environ", "rb") as file:
                if entry.name.isdecimal() and wanted in file.read().split(b"\0"):
                    found.append(int(entry.name))
        except OSError:
            continue
    return found


def send(pid, *numbers, group=False):
    """Send signals to a process or its group, if it is still there."""
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(pid, number)


def wait_for(pid, seconds):
    """Return how a runner ended; None if it had to be killed because it did not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    send(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None
