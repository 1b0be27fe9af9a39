import pytest

from spion_bench.train import progress as progress_module


@pytest.fixture
def every_step_told(monkeypatch):
    """Let progress callbacks see every step."""
    monkeypatch.setattr(progress_module, "STEP_INTERVAL_S", 0.0)
