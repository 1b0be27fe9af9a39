"""Each status that is not ok, really caused: by a real worker, in a process of its own."""

import ctypes
import sys

import pytest

from spion_bench.passes.session import Job
from spion_bench.run.child import BOOT, Child
from spion_bench.run.conduct import conduct
from spion_bench.suite.influence import PACKAGE
from spion_bench.suite.keys import with_code
from tests.cells import TINY, tiny_cell

LARGE = {"batch_size": 4096}

# The limit comes after torch, which reserves much address space when it is imported.
LITTLE_MEMORY = """
import sys; sys.path[:] = sys.argv[2:]
import resource
from spion_bench.run import worker
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, used + 2**30))
worker.main()
"""


def outcome(tmp_path, cell, boot=BOOT):
    """Return what a worker makes of a cell."""

    def start(job):
        return Child(job, tmp_path / "log", command=(sys.executable, "-P", "-c", boot))

    return conduct([Job(cell=cell, out=str(tmp_path))], lambda *news: None, start)[cell.key]


def dies(**arguments):
    """Read from where nothing is, in place of building an attention."""
    ctypes.string_at(0)


def dying():
    cell = tiny_cell("gate", "dense_sdpa")
    method = cell.method.model_copy(update={"factory": f"{__name__}:dies"})
    return cell.model_copy(update={"method": method})


def diverging():
    (group,) = (group for group in TINY.cells if group.task)
    return tiny_cell("prefix", "dense_sdpa", train={**group.train, "learning_rate": 1e30})


@pytest.mark.parametrize(
    ("cell", "status", "reason"),
    [
        (lambda: tiny_cell("memory", "dense_eager", measure=LARGE), "oom", "allocate memory"),
        (lambda: tiny_cell("gate", "dense_sdpa", timeout_s=0.01), "timeout", "busy for more than"),
        (dying, "crash", "ended by signal SIGSEGV"),
        (diverging, "nan", "the training loss of step"),
        (lambda: tiny_cell("gate", "dense_sdpa", device="cuda"), "unsupported", "no CUDA device"),
    ],
    ids=["oom", "timeout", "crash", "nan", "unsupported"],
)
def test_each_is_told_apart(tmp_path, cell, status, reason):
    boot = LITTLE_MEMORY if status == "oom" else BOOT
    found = outcome(tmp_path, with_code(cell()), boot)
    assert (found.status, reason in found.reason) == (status, True), found.reason


def test_a_worker_that_would_run_other_code_gives_no_number(tmp_path):
    found = outcome(tmp_path, tiny_cell("gate", "dense_sdpa", code="0"))
    assert found.status == "skipped"
    assert f"the sources in {PACKAGE} are not those that the plan" in found.reason
