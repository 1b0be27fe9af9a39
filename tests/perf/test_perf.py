"""pytest-benchmark saves, compares and fails; the clock is not the machine's."""

import json
import subprocess
import sys

import pytest

from spion_bench.measure.machine import cpu_model
from tests import ROOT

# What `nox -s perf` runs; it says what was added here.
COMMAND = (sys.executable, "-m", "pytest", "tests/perf/bench_kernels.py", "--benchmark-only")
FAST = (
    *("-p", "no:cacheprovider", "-k", "pattern_256 and flood_fill"),
    *("--benchmark-max-time=0", "--benchmark-calibration-precision=1"),
)


def run(storage, clock, *options):
    chosen = (f"--benchmark-storage={storage}", f"--benchmark-timer=tests.perf.clocks.{clock}")
    return subprocess.run(
        [*COMMAND, *FAST, *chosen, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """A folder with one run, saved when there was nothing to compare with."""
    folder = tmp_path_factory.mktemp("benchmarks")
    first = run(folder, "one_second", "--benchmark-save=before", "--benchmark-compare")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "Can't compare. No benchmark files" in first.stderr
    return folder


def test_a_saved_run_says_what_records_say_about_the_machine(storage):
    (saved,) = storage.rglob("*.json")
    machine = json.loads(saved.read_text())["machine_info"]
    assert machine["cpu"] == cpu_model()
    assert machine["threads"] == 2
    assert {"torch", "compiler", "kernel_path"} <= set(machine)
    assert not {"node", "user", "load_average"} & set(machine)


def test_twice_the_time_fails_the_comparison(storage):
    options = ("--benchmark-compare=0001", "--benchmark-compare-fail=median:50%")
    same, slower = (run(storage, clock, *options) for clock in ("one_second", "two_seconds"))
    assert same.returncode == 0, same.stdout + same.stderr
    assert "machine_info is different" not in same.stderr
    assert slower.returncode == 1
    assert "Performance has regressed" in slower.stderr
