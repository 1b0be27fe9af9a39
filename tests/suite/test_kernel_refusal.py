"""Which cells the kernels refuse, before anything runs; the table itself: tests/emulation."""

from typing import get_args

import pytest

from spion_bench.literals import Precision
from spion_bench.suite.cases import CASES
from spion_bench.suite.needs import kernel_refusal
from spion_bench.suite.plan import Machine, expand
from spion_bench.suite.profile import CellGroup, Profile, load_profile, profile_names


def cells(device, *methods, passes=("speed",), **changes):
    group = CellGroup(passes=passes, task="image", methods=methods, **changes)
    profile = Profile(name="mine", description="", cells=(group,))
    found = expand(profile, Machine(device, threads=1))
    return [cell for cell in found if cell.pass_name in (*passes, "prefix")]


def refusals(*arguments, **changes):
    return {kernel_refusal(cell) for cell in cells(*arguments, **changes)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spion": {"block_size": 8}}, "blocks of 16, 32, 64 or 128 tokens on CUDA, got 8"),
        ({"model": {"head_dim": 256}}, "a head width D from 1 to 128 on CUDA, got 256"),
        ({"measure": {"batch_size": 32768}}, "at most 65535 batch items times heads on CUDA"),
    ],
)
def test_what_cuda_kernels_do_not_take(changes, message):
    for method in ("spion_cf", "spion_cf@pipeline", "spion+strided"):
        (refusal,) = refusals("cuda", method, **changes)
        assert message in refusal, method
    # What runs other kernels is not asked, nor is the CPU, whose kernels take all of this.
    assert refusals("cuda", "dense_sdpa", "bigbird@spion_block", **changes) == {None}
    assert refusals("cpu", "spion_cf", **changes) == {None}


def test_training_counts_its_largest_batch_and_the_map_of_its_dense_phase():
    training = {"passes": ("accuracy",), "train": {"eval_batch_size": 32768}}
    prefix, training_cell = cells("cuda", "spion_cf", **training)
    assert kernel_refusal(prefix) is None  # dense attention evaluates it
    assert "batch items" in kernel_refusal(training_cell)
    for cell in cells("cuda", "spion_cf", passes=("accuracy",), model={"head_dim": 256}):
        assert "head width" in kernel_refusal(cell)


@pytest.mark.parametrize("name", profile_names())
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_profiles_ask_for_what_the_kernels_take(name, device):
    for cell in expand(load_profile(name), Machine(device, threads=1)):
        refusal = kernel_refusal(cell)
        if cell.pass_name == "kernel" and refusal is not None:  # which a table may show
            case = CASES[cell.case]
            assert case.block_size < 16 or case.head_dim > 128 or case.dtype == "float64"
        else:
            assert refusal is None, cell.key


@pytest.mark.parametrize("precision", get_args(Precision))
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_under_autocast_operators_take_what_their_kernels_do(device, precision):
    methods = ("spion_cf", "spion_cf@pipeline")
    group = CellGroup(passes=("accuracy",), task="image", methods=methods)
    profile = Profile(name="mine", description="", cells=(group,))
    found = expand(profile, Machine(device, threads=1, precision=precision))
    assert {cell.pass_name for cell in found} >= {"prefix", "accuracy"}
    assert {kernel_refusal(cell) for cell in found} == {None}
