"""Saved benchmarks describe the machine as records do, without what changes by itself."""

from spion_bench.measure.environment import capture
from tests.conftest import THREADS

CHANGING = {"git_sha", "git_dirty", "load_average", "gpu_sm_clock_mhz"}


def pytest_benchmark_generate_machine_info():
    described = capture(threads=THREADS).model_dump(mode="json")
    return {name: value for name, value in described.items() if name not in CHANGING}
