from dataclasses import replace

import pytest

from spion_bench.model.attention import UnsupportedError
from spion_bench.passes.kernel import memory as kernel_memory
from spion_bench.passes.kernel.memory import KernelMemorySession
from spion_bench.run.conduct import MALLOC_ENVIRONMENT
from spion_bench.run.worker import kernel_session
from spion_bench.suite.cases import find_case
from tests.cells import tiny_job

SMALL = replace(find_case("sweep_memory_L1024"), heads=2, length=512, block_size=32, density=0.2)


@pytest.fixture
def job(tmp_path):
    return tiny_job(tmp_path, "kernel", "block_attention", case="sweep_memory_L1024")


def test_memory_cases_start_with_their_malloc_and_measure_memory(job, monkeypatch):
    assert job.cell.measures_memory
    assert MALLOC_ENVIRONMENT
    assert isinstance(kernel_session(job), KernelMemorySession)


def test_peak_holds_output_and_gradients(job, monkeypatch):
    monkeypatch.setattr(kernel_memory, "find_case", lambda name: SMALL)
    session = KernelMemorySession(job)
    session.measure()
    session.measure()
    outcome = session.outcome()
    peak = outcome.metrics["forward_backward_peak_bytes"].value
    workspace = outcome.metrics["workspace_bytes"].value
    assert outcome.settings["output_bytes"] == 4 * 2 * 512 * 64 * 4
    assert workspace == max(0, peak - outcome.settings["output_bytes"])
    assert outcome.pattern.nnzb == [SMALL.n_blocks]


def test_a_system_without_a_high_water_mark_is_unsupported(job, monkeypatch):
    monkeypatch.setattr(kernel_memory, "clear_refs_problem", lambda: "no clear_refs")
    with pytest.raises(UnsupportedError, match="no clear_refs"):
        KernelMemorySession(job)
