"""Workers in front of a made-up package: work is counted, no time is looked at."""

import os
from pathlib import Path

import pytest

from spion_bench.compare import sides
from spion_bench.compare.sides import Side, SideError, Worker

BENCHMARK = """
import spion_bench


class Doubles:
    params = (["one", "none"],)

    def setup(self, case):
        if case == "none":
            raise NotImplementedError("not yet")
        self.count("s")

    def time_work(self, case):
        self.count("." * spion_bench.WORK)

    def count(self, what):
        with open(spion_bench.COUNT, "a") as file:
            file.write(what)
"""


def make_side(folder, name, work):
    """Return a side whose package does so much work, and where it counts it."""
    package = folder / name / "spion_bench"
    package.mkdir(parents=True)
    count = folder / f"{name}.count"
    count.touch()
    (package / "__init__.py").write_text(f"WORK = {work}\nCOUNT = {str(count)!r}\nprint('loud')\n")
    benchmarks = folder / "benchmarks"
    benchmarks.mkdir(exist_ok=True)
    (benchmarks / "__init__.py").touch()
    (benchmarks / "bench_work.py").write_text(BENCHMARK)
    return Side(name, folder / name, benchmarks), count


REQUEST = {"case": "work/one", "warmup_s": 0.0, "seconds": 0.0, "min_samples": 4}


def test_each_side_runs_its_own_package(tmp_path):
    sides = [make_side(tmp_path, "BASE", 1), make_side(tmp_path, "HEAD", 2)]
    workers = [Worker(side, threads=1) for side, _ in sides]
    for (_, count), worker, work in zip(sides, workers, (1, 2), strict=True):
        assert worker.wait_ready()["cases"] == ["work/one", "work/none"]
        for turns in (1, 2):  # the case is set up once
            assert len(worker.turn(REQUEST)["samples_ms"]) == 4
            assert count.read_text() == "s" + "." * work * 5 * turns  # one to warm up
        missing = worker.turn({**REQUEST, "case": "work/none"})
        assert missing == {"problem": "NotImplementedError: not yet"}
        with pytest.raises(SideError, match="its worker: it ended"):
            worker.turn({**REQUEST, "case": "unknown"})
        worker.end()


def test_a_worker_with_a_different_package_is_refused(tmp_path):
    side, _ = make_side(tmp_path, "BASE", 1)
    worker = Worker(Side("BASE", Path(tmp_path, "elsewhere"), side.benchmarks), threads=1)
    with pytest.raises(SideError, match=r"expected the package in|its worker: it ended"):
        worker.wait_ready()
    worker.end()


READY = 'b\'{"package": "%s", "torch": "2", "cases": []}\\n\''


@pytest.mark.parametrize(
    ("ready", "answer", "reason"),
    [
        ("b'not json\\n'", "", "its worker: 1 validation error"),
        ("b'\\xff\\xfe\\n'", "", "its worker: 1 validation error"),
        ("b'{\"cases\": 3}\\n'", "", "its worker: 3 validation errors"),
        ("b'half'", "", "its worker: it ended"),
        (READY, "b'{}\\n'", "its worker: 2 validation errors"),
        (READY, "b'{\"samples_ms\": []}\\n'", "its worker: "),
        (READY, "b'{\"samples_ms\": [NaN]}\\n'", "its worker: "),
        (READY, "b'{\"samples_ms\": [-1.0]}\\n'", "its worker: "),
        (READY, "b'{\"samples_ms\": [1]}\\nmore'", "its worker: it sent what is no answer"),
    ],
)
def test_a_worker_that_answers_nonsense_ends_the_comparison(
    tmp_path, monkeypatch, ready, answer, reason
):
    ready = ready.replace("%s", str(tmp_path.resolve()))
    script = tmp_path / "worker.py"
    then = f"os.read(0, 99)\nos.write(1, {answer})\n" if answer else ""
    script.write_text(f"import os\nos.write(1, {ready})\n{then}")
    monkeypatch.setattr(sides, "WORKER", script)
    worker = Worker(Side("BASE", tmp_path), threads=1)
    try:
        if answer:
            worker.wait_ready()
        with pytest.raises(SideError, match=f"BASE: {reason}"):
            worker.turn(REQUEST) if answer else worker.wait_ready()
    finally:
        worker.end()


def test_ending_a_worker_ends_what_it_started(tmp_path, monkeypatch):
    script = tmp_path / "worker.py"
    script.write_text("import os, time\nos.fork() or os.write(1, b'x')\ntime.sleep(600)\n")
    monkeypatch.setattr(sides, "WORKER", script)
    worker = Worker(Side("BASE", tmp_path), threads=1)
    pipe = os.dup(worker._process.stdout.fileno())
    assert os.read(pipe, 1) == b"x"
    worker.end()
    assert os.read(pipe, 1) == b""  # the grandchild held it too
    os.close(pipe)
