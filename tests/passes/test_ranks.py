"""A cell that its worker trains together with processes that it starts."""

import pytest
import torch

from spion_bench.model.attention import UnavailableError
from spion_bench.passes import ranks as ranks_module
from spion_bench.passes.accuracy import AccuracySession
from spion_bench.passes.prefix import PrefixSession
from spion_bench.passes.ranks import RankError, together
from spion_bench.run.worker import is_out_of_memory
from spion_bench.train import NonFiniteLossError
from tests.cells import ignore, measure, tiny_job

TWO = {"processes": 2, "threads": 1}
JOINS = (
    "import sys; sys.path[:] = sys.argv[3:]; from pathlib import Path; "
    "from spion_bench.train.ranks import meeting; print('ready', flush=True); "
)
MEETS = "\nwith meeting(1, 2, Path(sys.argv[2])) as ranks:\n  ranks.wait()\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The tiny profile's dense prefix and SPION's cell, each trained by two processes."""
    out = tmp_path_factory.mktemp("together")
    events = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker does
    prefix = measure(PrefixSession(tiny_job(out, "prefix", "dense_sdpa", **TWO), ignore))
    spion = measure(AccuracySession(tiny_job(out, "accuracy", **TWO), events.append))
    torch.set_num_threads(threads)
    return out, prefix, spion, events


def test_a_cell_is_trained_by_two_processes(trained):
    _, prefix, spion, events = trained
    assert (prefix.status, spion.status) == ("ok", "ok")
    assert spion.transition.step == 4
    assert 0 <= spion.metrics["test_accuracy"].value <= 1
    assert spion.memory_method == "peak above what the first of 2 processes held before training"
    assert {event.phase for event in events} == {"pattern", "sparse"}


def test_the_worker_alone_stores(trained):
    out, prefix, spion, _ = trained
    job = tiny_job(out, "accuracy", **TWO)
    artifacts = {f"artifacts/{name}" for name in (*prefix.artifacts, *spion.artifacts)}
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    of_checkpoint = {file for file in files if file.startswith(f"checkpoints/{job.cell.key}/")}
    assert len(of_checkpoint) == 2
    assert files - of_checkpoint == artifacts


def other_does(monkeypatch, program):
    monkeypatch.setattr(ranks_module, "BOOT", program)


def trains_together(folder, *, waits=1, error=None, **changes):
    """Be the worker of a cell that two processes train; wait for the other some times."""
    with together(tiny_job(folder, "accuracy", **{**TWO, **changes})) as ranks:
        for _ in range(waits):
            ranks.wait()
        if error is not None:
            raise error


def test_what_ends_another_process_is_told(tmp_path, monkeypatch):
    other_does(monkeypatch, "print('OutOfMemoryError: CUDA out of memory'); raise SystemExit(1)")
    with pytest.raises(RankError, match=r"process 2 of those .*: OutOfMemoryError: CUDA") as caught:
        trains_together(tmp_path)
    assert is_out_of_memory(caught.value)


def test_a_process_that_is_killed_ends_the_training(tmp_path, monkeypatch):
    other_does(monkeypatch, f"{JOINS}{MEETS}  import os; os.kill(os.getpid(), 9)")
    with pytest.raises(RankError, match=r"process 2 of those that train .* exit code -9$"):
        trains_together(tmp_path, waits=1000)


def test_the_process_that_failed_is_blamed_not_those_that_lost_it(tmp_path, monkeypatch):
    program = (
        f"{JOINS}\nrank = int(sys.argv[1])\n"
        "with meeting(rank, 3, Path(sys.argv[2])) as ranks:\n"
        "  ranks.wait()\n"
        "  if rank == 2: print('ValueError: the cause', flush=True); sys.exit(1)\n"
        "  try:\n"
        "    while True: ranks.wait()\n"
        "  except Exception as error:\n"
        "    from spion_bench.passes.ranks import LOST_ANOTHER, lost_another\n"
        "    sys.exit(LOST_ANOTHER if lost_another(error) else 1)\n"
    )
    other_does(monkeypatch, program)
    with pytest.raises(RankError, match=r"^process 3 of those .*: ValueError: the cause$"):
        trains_together(tmp_path, waits=1000, processes=3)


def test_a_process_that_fails_at_the_end_is_noticed(tmp_path, monkeypatch):
    other_does(monkeypatch, f"{JOINS}{MEETS}raise SystemExit(3)")
    with pytest.raises(RankError, match="exit code 3"):
        trains_together(tmp_path)


@pytest.mark.parametrize("error", [KeyError("own"), NonFiniteLossError(3, float("nan"))])
def test_the_workers_own_error_is_its_own(tmp_path, monkeypatch, error):
    monkeypatch.setattr(ranks_module, "FAULT_GRACE_S", 0.1)
    other_does(monkeypatch, f"{JOINS}{MEETS}  ranks.wait()")
    with pytest.raises(type(error)) as caught:
        trains_together(tmp_path, error=error)
    assert caught.value is error


def test_too_few_gpus_are_said_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UnavailableError, match=r"2 processes .* a GPU each, and torch sees 1"):
        trains_together(tmp_path, device="cuda")
