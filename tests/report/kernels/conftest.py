import pytest

from spion_bench.report.kernels.points import kernel_sweeps
from spion_bench.report.load import load_records
from tests.report.kernels.sweep_run import write_sweep_run


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return write_sweep_run(tmp_path_factory.mktemp("sweeps") / "kernels")


@pytest.fixture(scope="session")
def run(folder):
    return load_records(folder)


@pytest.fixture(scope="session")
def sweeps(run):
    [found] = kernel_sweeps(run)
    return found
