from dataclasses import replace

import pytest

from spion_bench.model.attention import UnavailableError, UnsupportedError
from spion_bench.passes.kernel import memory as kernel_memory
from spion_bench.passes.kernel import session as kernel_session
from spion_bench.passes.kernel.session import KernelSession
from spion_bench.suite.cases import find_case
from tests.passes.kernel.jobs import kernel_job, on_progress

SMALL = replace(find_case("sweep_memory_L1024"), heads=2, length=512, block_size=32, density=0.2)


@pytest.fixture
def job(tmp_path):
    return kernel_job(tmp_path, "sweep_memory_L1024", "block_attention")


def test_cells_of_memory_cases_say_so(job):
    assert job.cell.measures == "memory"


def test_peak_holds_output_and_gradients(job, monkeypatch):
    monkeypatch.setattr(kernel_session, "find_case", lambda name: SMALL)
    session = KernelSession(job, on_progress)
    session.measure()
    session.measure()
    outcome = session.result()
    peak = outcome.metrics["forward_backward_peak_bytes"].value
    workspace = outcome.metrics["workspace_bytes"].value
    assert outcome.extra["output_bytes"] == 4 * 2 * 512 * 64 * 4
    assert workspace == max(0, peak - outcome.extra["output_bytes"])
    assert outcome.pattern.nnzb == [SMALL.n_blocks]
    assert outcome.metrics.keys() == {"forward_backward_peak_bytes", "workspace_bytes"}
    assert outcome.memory_method.startswith("VmHWM")


def test_a_system_without_a_high_water_mark_is_unsupported(job, monkeypatch):
    monkeypatch.setattr(kernel_memory, "clear_refs_problem", lambda: "no clear_refs")
    with pytest.raises(UnavailableError, match="no clear_refs"):
        KernelSession(job, on_progress)


def test_memory_is_not_measured_on_a_gpu(tmp_path):
    with pytest.raises(UnsupportedError, match="on the CPU only"):
        KernelSession(
            kernel_job(tmp_path, "sweep_memory_L1024", "block_attention", device="cuda"),
            on_progress,
        )
