"""Workers that need no torch: they read the job line and then do what the test is about."""

import sys
import time

from spion_bench.run.child import Child
from tests.cells import tiny_job

HEAD = "import json, os, signal, sys, time\njob = json.loads(sys.stdin.readline())['job']\n"
SAY = (
    "events = os.fdopen(int(sys.argv[1]), 'w')\n"
    "def say(text):\n"
    "    event = dict(kind='progress', phase='dense', step=1, total_steps=2, message=text)\n"
    "    print(json.dumps(event), file=events, flush=True)\n"
)


class Nursery:
    """Starts workers, and ends them all."""

    def __init__(self, folder):
        self.folder = folder
        self.children = []

    def start(self, body, *, timeout_s=20.0, environment=None):
        job = tiny_job(self.folder, "gate", timeout_s=timeout_s)
        command = (sys.executable, "-c", HEAD + SAY + body)
        child = Child(job, self.folder / "logs" / "x.log", environment, command)
        self.children.append(child)
        return child

    def stop(self):
        for child in self.children:
            child.stop()


def is_running(pid):
    """Return whether a process is there and no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def assert_gone(*pids):
    """Wait a while until processes are gone."""
    deadline = time.monotonic() + 20
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(is_running, pids))
