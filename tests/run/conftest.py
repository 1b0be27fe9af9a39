import pytest

from tests.run.workers import Nursery


@pytest.fixture
def start(tmp_path):
    nursery = Nursery(tmp_path)
    yield nursery.start
    nursery.stop()
