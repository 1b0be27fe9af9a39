"""A runner's surroundings without processes: its display, its conductor, and a run with both."""

from spion_bench.run.executors.executor import OneByOne
from spion_bench.run.runner import Runner
from tests.cells import ENVIRONMENT, measurement


class FakeDisplay:
    """Keeps what the runner reports."""

    def __init__(self):
        self.begun = None
        self.finished = []
        self.messages = []

    def begin(self, total, done):
        self.begun = (total, done)

    def start(self, cells):
        pass

    def event(self, cell, event):
        self.messages.append(event.message)

    def finish(self, cell, record):
        self.finished.append((cell.pass_name, cell.method.name, record.measurement.status))


class FakeConductor:
    """Gives every cell the status that ``statuses`` has for its pass and method, else ok."""

    def __init__(self, statuses=None, **fields):
        self.statuses = statuses or {}
        self.fields = fields
        self.turns = []

    @property
    def jobs(self):
        return [job for jobs in self.turns for job in jobs]

    def __call__(self, jobs, on_event):
        self.turns.append(list(jobs))
        return {job.cell.key: self._found(job.cell) for job in jobs}

    def _found(self, cell):
        status = self.statuses.get((cell.pass_name, cell.method.name), "ok")
        reason = None if status == "ok" else f"it was {status}"
        return measurement(status, reason, busy_s=2.5, **self.fields)


def run(store, cells, statuses=None, *, fresh=False, **fields):
    conductor, display = FakeConductor(statuses, **fields), FakeDisplay()
    runner = Runner(store, ENVIRONMENT, display, fresh=fresh, executor=OneByOne(conductor))
    return runner.run(cells), conductor, display


def statuses_of(records):
    return {(r.cell.pass_name, r.cell.method.name): r.measurement.status for r in records}
