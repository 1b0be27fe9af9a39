"""Training in two processes that share every batch, over gloo."""

import json

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from safetensors.torch import load_file

from spion_bench.native import library
from spion_bench.train import progress as progress_module
from spion_bench.train.checkpoint import CheckpointStore
from spion_bench.train.ranks import ALONE, Ranks, meeting
from tests.train.tiny import interrupt_at, run, tiny_settings, train_tiny_prefix

COUNT = 2
EXACT = tiny_settings(dropout=0.0)  # what dropout draws depends on the number of processes


def facts(result):
    """Everything that two equal runs have in common, as JSON keeps it, to the bit."""
    return {
        "losses": [point.train_loss for point in result.curve],
        "dev_losses": [point.dev_loss for point in result.curve],
        "transition": result.transition.step,
        "maps": [stage.map.tolist() for stage in result.stages],
        "patterns": [
            [pattern.crow_indices.tolist(), pattern.col_indices.tolist()]
            for pattern in result.patterns
        ],
        "tested": [result.tested_phase, result.tested_step, result.dev_accuracy],
        "test_correct": result.test_correct.tolist(),
    }


def work(rank, folder):
    """Train in one of the processes, in several ways, and write down what came of each."""
    torch.set_num_threads(1)
    progress_module.STEP_INTERVAL_S = 0.0
    if rank:
        CheckpointStore.save = CheckpointStore.clear = forbidden
    found = {}
    with meeting(rank, COUNT, folder / "meeting") as ranks:
        for name, settings in (("exact", EXACT), ("dropout", tiny_settings())):
            shared = {"settings": settings, "ranks": ranks}
            for again in ("", " again"):
                result = run("spion_cf", folder / f"{name}{again}", **shared)
                found[name + again] = facts(result)
            for step in (3, 5, 9):  # before, at and after the transition
                cut = {**shared, "checkpoint_every_s": 0.0, "progress": interrupt_at(step)}
                with pytest.raises(KeyboardInterrupt):
                    run("spion_cf", folder / f"{name} cut", **cut)
            found[f"{name} resumed"] = facts(run("spion_cf", folder / f"{name} cut", **shared))
            train_tiny_prefix(folder / f"{name} prefix", **shared)
            prefix = {"prefix": folder / f"{name} prefix"}
            forked = run("spion_cf", folder / f"{name} forked", **shared, **prefix)
            found[f"{name} forked"] = facts(forked)
        fresh = {**shared, "resume": False}
        found["dropout afresh"] = facts(run("spion_cf", folder / "dropout", **fresh))
        found["mean"] = ranks.mean(torch.tensor([rank, 1.0])).tolist()
        found["gathered"] = [each.tolist() for each in ranks.gathered(torch.tensor([rank]))]
        found["first"] = ranks.of_first(rank == 0)
    (folder / f"{rank}.json").write_text(json.dumps(found))


def forbidden(*_):
    raise AssertionError("only the first process writes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the two processes have trained."""
    library.load()  # once, before two processes would
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(work, (folder,), nprocs=COUNT)
    return folder


@pytest.fixture(scope="module")
def found(folder):
    """What each of the two processes found."""
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(COUNT)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same training without dropout, in one process."""
    return facts(run("spion_cf", tmp_path_factory.mktemp("alone"), EXACT))


def test_losses_are_those_of_one_process_but_for_rounding(found, alone):
    for name in ("losses", "maps"):
        np.testing.assert_allclose(found[0]["exact"][name], alone[name], rtol=1e-5)
    assert found[0]["exact"]["losses"] != alone["losses"]  # another order of the same sums
    for name in ("patterns", "transition", "tested"):
        assert found[0]["exact"][name] == alone[name]


@pytest.mark.parametrize("kind", ["exact", "dropout"])
@pytest.mark.parametrize("other", ["again", "resumed", "forked"])
def test_runs_are_equal_to_the_bit_repeated_resumed_and_forked(found, kind, other):
    assert all(process[f"{kind} {other}"] == process[kind] for process in found)


def test_a_fresh_run_forgets_the_checkpoint_in_all_processes(found):
    assert all(process["dropout afresh"] == process["dropout"] for process in found)


@pytest.mark.parametrize("kind", ["exact", "dropout"])
def test_all_processes_have_the_same_losses_maps_and_patterns(found, kind):
    first, second = (process[kind] for process in found)
    assert first == second
    assert len(first["patterns"]) == 2


def test_each_process_draws_dropout_of_its_own(folder):
    [checkpoint] = (folder / "dropout").glob("*.safetensors")
    tensors = load_file(checkpoint)
    assert not torch.equal(tensors["/rng/0"], tensors["/rng/1"])


def test_processes_agree(found):
    for process in found:
        assert process["mean"] == [0.5, 1.0]
        assert process["gathered"] == [[0], [1]]
        assert process["first"]


def test_shares_make_the_batch():
    batch = np.arange(12)
    shares = [Ranks(rank, 3).share(batch) for rank in range(3)]
    assert [len(share) for share in shares] == [4, 4, 4]
    assert np.concatenate(shares).tolist() == batch.tolist()
    assert ALONE.share(batch).tolist() == batch.tolist()


def test_each_process_has_a_gpu_of_its_own():
    assert Ranks(1, 2).device("cuda") == torch.device("cuda", 1)
    assert Ranks(1, 2).device("cpu") == torch.device("cpu")
    assert ALONE.device("cuda") == torch.device("cuda")
