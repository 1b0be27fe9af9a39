import pytest

from spion_bench.measure.memory import clear_refs_problem
from spion_bench.model.attention import UnavailableError
from spion_bench.passes.memory import MemorySession
from tests.cells import ignore, measure, tiny_job


@pytest.mark.skipif(clear_refs_problem() is not None, reason="clear_refs is not writable here")
def test_memory_is_measured_once_a_round(tmp_path):
    session = MemorySession(tiny_job(tmp_path, "memory"), ignore)
    assert session.check().reason is None
    session.measure()
    session.measure()
    found = measure(session)
    assert found.status == "ok"
    assert len(found.metrics["train_step_peak_bytes"].samples) == 3
    assert found.metrics["train_step_peak_bytes"].unit == "bytes"
    assert "VmHWM" in found.memory_method


def test_memory_without_clear_refs_is_unavailable(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "spion_bench.passes.memory.clear_refs_problem", lambda: "clear_refs is read-only"
    )
    with pytest.raises(UnavailableError, match="read-only"):
        MemorySession(tiny_job(tmp_path, "memory"), ignore)
