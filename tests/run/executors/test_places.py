import os

import pytest
import torch

from spion_bench.passes.session import Job
from spion_bench.records.names import UsageError
from spion_bench.run import conduct as conduct_module
from spion_bench.run.executors import places as places_module
from spion_bench.run.executors.places import Place, gpus_of_one_model, places
from spion_bench.run.executors.side_by_side import start_at
from tests.cells import tiny_cell


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch):
    monkeypatch.setattr(places_module, "SHELL_CPUS", frozenset(range(8, 16)))


def test_no_two_places_share_a_cpu_or_a_gpu():
    found = places(3, 2, ["0", "2", "GPU-1f", "7"])
    assert [place.gpus for place in found] == [("0",), ("2",), ("GPU-1f",)]
    assert [sorted(place.cpus) for place in found] == [[8, 9], [10, 11], [12, 13]]
    assert places(2, 4) == [Place(frozenset(range(8, 12))), Place(frozenset(range(12, 16)))]


@pytest.mark.parametrize(
    ("workers", "threads", "remedy"),
    [
        (3, 4, "ask for --workers 2 or --threads 2"),
        (2, 9, "ask for --threads 4"),
        (9, 1, "ask for --workers 8"),
        (9, 9, "ask for --workers 1 --threads 8"),
    ],
)
def test_too_few_cores_name_what_fits(workers, threads, remedy):
    expected = f"need {workers * threads} cores, and here are 8; {remedy}$"
    with pytest.raises(UsageError, match=expected):
        places(workers, threads)


def test_too_few_gpus_name_what_fits():
    with pytest.raises(UsageError, match="need a GPU each, and here are 2; ask for --workers 2"):
        places(3, 2, ["0", "1"])
    with pytest.raises(
        UsageError, match=r"2 workers of 2 processes need .* 3; ask for --workers 1"
    ):
        places(2, 1, ["0", "1", "2"], processes=2)
    with pytest.raises(UsageError, match=r"here are 2; ask for --processes-per-cell 2$"):
        places(1, 1, ["0", "1"], processes=4)


def test_processes_of_a_cell_have_a_place_together():
    first, second = places(2, 2, ["0", "2", "3", "5"], processes=2)
    assert (sorted(first.cpus), first.gpus) == ([8, 9, 10, 11], ("0", "2"))
    assert (sorted(second.cpus), second.gpus) == ([12, 13, 14, 15], ("3", "5"))
    fitting = "--workers 1 or --threads 1 or --processes-per-cell 2$"
    with pytest.raises(UsageError, match=f"2 workers of 4 processes .* 16 cores.*{fitting}"):
        places(2, 2, processes=4)


@pytest.fixture
def torch_sees(monkeypatch):
    """Return a function that makes torch see GPUs of these models."""

    def see(*models):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(models))
        monkeypatch.setattr(torch.cuda, "get_device_name", models.__getitem__)

    return see


@pytest.mark.parametrize(
    ("visible", "names"),
    [(None, ["0", "1"]), ("5,3", ["5", "3"]), ("GPU-a, GPU-b", ["GPU-a", "GPU-b"])],
)
def test_gpus_have_the_names_that_a_worker_knows_them_by(torch_sees, monkeypatch, visible, names):
    torch_sees("H200", "H200")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus_of_one_model() == names


def test_gpus_of_two_models_are_refused(torch_sees):
    torch_sees("H200", "A100")
    with pytest.raises(UsageError, match="expected GPUs of one model, got A100, H200"):
        gpus_of_one_model()


def test_a_worker_starts_on_its_place(monkeypatch, tmp_path):
    started = {}

    def child(job, log, environment):
        started.update(environment, cpus=os.sched_getaffinity(0))

    monkeypatch.setattr(conduct_module, "Child", child)
    before = os.sched_getaffinity(0)
    cpu = min(before)
    job = Job(cell=tiny_cell("accuracy"), out=str(tmp_path))
    start_at(job, Place(frozenset({cpu}), ("5", "7")))
    assert (started["CUDA_VISIBLE_DEVICES"], started["cpus"]) == ("5,7", {cpu})
    assert started["OMP_NUM_THREADS"] == "2"
    assert os.sched_getaffinity(0) == before
