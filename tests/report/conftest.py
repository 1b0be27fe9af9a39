import pytest

from spion_bench.report import render_report
from spion_bench.report.load import load_records
from tests.report.sample_run import write_sample_run


@pytest.fixture(scope="session")
def sample_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "smoke"
    write_sample_run(folder)
    return folder


@pytest.fixture(scope="session")
def sample(sample_dir):
    return load_records(sample_dir)


@pytest.fixture(scope="session")
def report(sample_dir, tmp_path_factory):
    """The folder of the rendered sample report."""
    return render_report(sample_dir, tmp_path_factory.mktemp("report")).html.parent
