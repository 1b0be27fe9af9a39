"""Each status that is not ok, really caused: by a real worker, in a process of its own."""

import ctypes
import sys

import pytest
import torch

from spion_bench.measure.machine import memory_kills
from spion_bench.passes.session import Job
from spion_bench.run.child import BOOT, Child
from spion_bench.run.conduct import conduct
from spion_bench.suite.influence import PACKAGE
from spion_bench.suite.keys import with_code
from tests.cells import TINY, tiny_cell
from tests.run.memory_group import NoGroupError, memory_group

# The limit comes after torch, which reserves much address space when it is imported.
LITTLE_MEMORY = """
import sys; sys.path[:] = sys.argv[2:]
import resource
from spion_bench.run import worker
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, used + 2**30))
worker.main()
"""

IN_A_GROUP = """
import sys; sys.path[:] = sys.argv[2:]
import os
from spion_bench.run import worker
open({members!r}, "w").write(str(os.getpid()))
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


def needs_much(**arguments):
    """Ask torch for more than there is in place of building an attention."""
    torch.empty(2**33)


def grows(**arguments):
    """Hold more and more memory in place of building an attention."""
    held = [b"x" * (16 * 2**20) for _ in range(64)]
    raise RuntimeError(f"nothing ended a process that holds {len(held)} pieces of 16 MiB")


def with_factory(factory):
    cell = tiny_cell("gate", "dense_sdpa")
    method = cell.method.model_copy(update={"factory": f"{__name__}:{factory.__name__}"})
    return cell.model_copy(update={"method": method})


def diverging():
    (group,) = (group for group in TINY.cells if group.task)
    return tiny_cell("prefix", "dense_sdpa", train={**group.train, "learning_rate": 1e30})


@pytest.mark.parametrize(
    ("cell", "status", "reason"),
    [
        (lambda: with_factory(needs_much), "oom", "allocate memory"),
        (lambda: tiny_cell("gate", "dense_sdpa", timeout_s=0.01), "timeout", "busy for more than"),
        (lambda: with_factory(dies), "crash", "ended by signal SIGSEGV"),
        (diverging, "nan", "the training loss of step"),
        (lambda: tiny_cell("gate", "dense_sdpa", device="cuda"), "unsupported", "no CUDA device"),
    ],
    ids=["oom", "timeout", "crash", "nan", "unsupported"],
)
def test_each_is_told_apart(tmp_path, cell, status, reason):
    boot = LITTLE_MEMORY if status == "oom" else BOOT
    found = outcome(tmp_path, with_code(cell()), boot)
    assert (found.status, reason in found.reason) == (status, True), found.reason


def test_a_worker_that_the_system_kills_for_its_memory_is_out_of_memory(tmp_path):
    cell = with_code(with_factory(grows))
    before = memory_kills()
    try:
        with memory_group(256 * 2**20) as members:
            found = outcome(tmp_path, cell, IN_A_GROUP.format(members=str(members)))
    except NoGroupError as error:
        pytest.skip(f"the system's own kill cannot be caused here: {error}")
    assert (found.status, "killed by the system" in found.reason) == ("oom", True), found.reason
    assert before is None or memory_kills() > before


def test_a_worker_that_would_run_other_code_gives_no_number(tmp_path):
    found = outcome(tmp_path, tiny_cell("gate", "dense_sdpa", code="0"))
    assert found.status == "skipped"
    assert f"the sources in {PACKAGE} are not those that the plan" in found.reason
