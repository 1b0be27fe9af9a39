"""Jobs of kernel cells, for the tests of the kernel pass."""

from spion_bench.passes.session import Job
from spion_bench.records import KernelCell
from spion_bench.records.settings import MeasureSettings
from spion_bench.suite.cases import find_case
from spion_bench.suite.implementations import find_implementation


def kernel_job(tmp_path, case, implementation, **changes):
    """Return the job of one implementation on one case, two samples a round."""
    case, implementation = find_case(case), find_implementation(implementation)
    fields = {
        "key": "kernel",
        "pass_name": "kernel",
        "profile": "test",
        "label": case.name,
        "method": implementation.info(case),
        "seed": 0,
        "device": "cpu",
        "dtype": implementation.computes_in(case),
        "threads": 2,
        "timeout_s": 60.0,
        "code": "",
        "measure": MeasureSettings(rounds=1, warmup_s=0.0, round_s=0.0, min_samples=2),
        **case.cell_fields(),
    }
    return Job(cell=KernelCell(**(fields | changes)), out=str(tmp_path))


def on_progress(event):
    """Ignore progress."""
