"""Cells side by side: what may run together, what runs alone, and what an interrupt leaves."""

import queue
import threading
import time

import pytest

from spion_bench.records import TaskCell
from spion_bench.records.store import Store
from spion_bench.run.executors.places import Place
from spion_bench.run.executors.side_by_side import SideBySide
from spion_bench.run.messages import Progress, Result, Started
from spion_bench.run.runner import Runner
from spion_bench.suite.passes import PASSES
from tests.cells import ENVIRONMENT, measurement, tiny_cells
from tests.run.fakes import FakeConductor, FakeDisplay

PLACES = [Place(frozenset({0})), Place(frozenset({1}))]
WAIT_S = 30.0
STEP = Progress(phase="dense", step=1, total_steps=2)


class FakeChild:
    """A worker without a process: says how far it is, then gives the result that it is let to."""

    busy_s = 1.5
    is_running = True

    def __init__(self, house, job, place):
        self.house, self.place = house, place
        self.is_stopped = self.is_interrupted = False
        self._events = queue.Queue()
        self.serve(job)

    def serve(self, job):
        self.job = job
        self.house.enter(self)
        for event in (Started(code=job.cell.code, package="/src"), STEP):
            self._events.put(event)

    def receive(self):
        if self._events.empty():
            self.house.work(self)
        event = self._events.get(timeout=WAIT_S)
        if isinstance(event, BaseException):
            raise event
        return event

    def give(self, status="ok", reason=None):
        self.house.leave(self)
        self._events.put(Result(measurement=measurement(status, reason)))

    def interrupt(self):
        self.is_interrupted = True
        self._events.put(KeyboardInterrupt())

    def finish(self):
        self.stop()

    def stop(self):
        self.is_stopped = True


class House:
    """Where fake workers work: notes who works at a time.

    Args:
        store: The records so far.
        work: Called with a worker that waits; gives its result by default.
    """

    def __init__(self, store, work=FakeChild.give):
        self.store, self._work = store, work
        self.children, self.working, self.together, self.alone = [], set(), [], []
        self._lock = threading.Lock()

    def start(self, job, place):
        child = FakeChild(self, job, place)
        self.children.append(child)
        return child

    def work(self, child):
        self._work(child)

    def enter(self, child):
        cell = child.job.cell
        with self._lock:
            self.working.add(cell.key)
            self.together.append(set(self.working))
            needed = {cell.gate, cell.parent} - {None} if isinstance(cell, TaskCell) else set()
            assert all(self.store.latest(key) is not None for key in needed)

    def leave(self, child):
        with self._lock:
            self.working.remove(child.job.cell.key)

    def conduct_alone(self, jobs, on_event):
        self.alone.append([job.cell for job in jobs])
        assert not self.working
        assert all(child.is_stopped for child in self.children)
        return FakeConductor()(jobs, on_event)


def run(house, cells, display=None):
    executor = SideBySide(PLACES, start=house.start, conduct_alone=house.conduct_alone)
    return Runner(house.store, ENVIRONMENT, display or FakeDisplay(), executor=executor).run(cells)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_a_plan_runs_side_by_side_and_what_is_timed_alone(store):
    pairs = threading.Barrier(2)

    def meet(child):
        if child.job.cell.pass_name in ("gate", "accuracy"):
            place = pairs.wait(WAIT_S)  # broken, so the test fails, unless two are at work
            time.sleep(0.3 * place)  # what is timed has to wait for the slower one
        child.give()

    cells, house, display = tiny_cells(), House(store, meet), FakeDisplay()
    records = run(house, cells, display)
    assert [record.cell for record in records] == cells
    assert {record.measurement.status for record in records} == {"ok"}
    assert len(store.records) == len(cells) == len(display.finished)
    assert max(map(len, house.together)) == 2
    alone = {cell.key for turn in house.alone for cell in turn}
    assert alone == {cell.key for cell in cells if not PASSES[cell.pass_name].side_by_side}
    noted = {r.key for r in records if r.measurement.extra.get("side_by_side") == 2}
    assert noted == {cell.key for cell in cells} - alone
    assert run(house, cells) == records  # nothing is left to do
    assert len(store.records) == len(cells)


def test_a_place_has_one_worker_at_a_time(store):
    house = House(store)
    cells = [
        cell.model_copy(update={"key": f"{cell.key}{i}"})
        for i in range(4)
        for cell in tiny_cells("gate")
    ]
    run(house, cells)
    assert {child.place for child in house.children} <= set(PLACES)
    assert max(map(len, house.together)) <= len(PLACES)
    assert len(house.children) == len(cells)


def test_a_warm_worker_is_gone_before_anything_is_timed(store):
    house = House(store)
    cells = [*tiny_cells("steps", passes=("steps",)), *tiny_cells("speed")]
    run(house, cells)
    assert len(house.alone) == 1


def test_a_closed_gate_bars_what_waited_for_it(store):
    def work(child):
        fails = child.job.cell.pass_name == "gate" and child.job.cell.method.name == "spion_cf"
        child.give(*(("gate_failed", "it was") if fails else ()))

    records = run(House(store, work), tiny_cells())
    found = {(r.cell.pass_name, r.cell.method.name): r.measurement.status for r in records}
    assert found["accuracy", "spion_cf"] == found["speed", "spion_cf"] == "gate_failed"
    assert found["accuracy", "dense_sdpa"] == found["speed", "dense_sdpa"] == "ok"


class Interrupting(FakeDisplay):
    """Presses Ctrl-C once a record is stored."""

    def finish(self, cell, record):
        super().finish(cell, record)
        raise KeyboardInterrupt


def test_ctrl_c_stops_every_worker_and_keeps_what_has_ended(store):
    both, first, before = threading.Barrier(2), [], set(threading.enumerate())

    def one_gives(child):
        if both.wait(WAIT_S) == 0:
            first.append(child)
            child.give()

    house, cells = House(store, one_gives), tiny_cells("gate")
    with pytest.raises(KeyboardInterrupt):
        run(house, cells, Interrupting())
    assert len(house.children) == 2
    assert all(child.is_stopped and child.is_interrupted for child in house.children)
    assert [record.key for record in store.records] == [first[0].job.cell.key]
    started = set(threading.enumerate()) - before  # a library's pool may be there already
    assert not any("ThreadPool" in thread.name for thread in started)
    house = House(store)
    assert len(run(house, cells)) == 2
    (again,) = house.children
    assert again.job.cell.key != first[0].job.cell.key


def test_an_error_of_a_worker_s_start_ends_the_others(store):
    def start(job, place):
        if house.children:
            raise OSError("no space for its log")
        return house.start(job, place)

    house = House(store, lambda child: None)
    executor = SideBySide(PLACES, start=start, conduct_alone=house.conduct_alone)
    with pytest.raises(OSError, match="no space for its log"):
        Runner(store, ENVIRONMENT, FakeDisplay(), executor=executor).run(tiny_cells("gate"))
    assert house.children[0].is_interrupted
    assert house.children[0].is_stopped
    assert store.records == []
