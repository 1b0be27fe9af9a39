"""What the CUDA kernels do, counted by the emulator: as much as the model of a GPU says."""

import pytest
import torch

from spion_bench.gpu_model.devices import HALF, TF32X3
from spion_bench.gpu_model.work import WORK
from spion_bench.ops import block_attention
from spion_bench.records import KernelShape
from tests.emulation.pipeline_cases import CASES
from tests.emulation.test_block_attention import CASES as FUSED_CASES

pytestmark = pytest.mark.usefixtures("emulated_backend")

MMA_FLOPS = {torch.float16: 2 * 16 * 8 * 16, torch.float32: 2 * 16 * 8 * 8 / 3}  # 3xTF32
METHODS = {"fused": "block_attention", "pipeline": "pipeline"}


def count(case, dtype, implementation):
    """Return (launches, mma, ldmatrix, bank conflicts) of the forward and of the backward pass."""
    take = torch.ops.spion_bench_emulated.take_statistics
    leaves = [x.requires_grad_() for x in case.inputs(dtype)]
    take()
    out = block_attention(*leaves, case.pattern, pruned="zero_logit", implementation=implementation)
    forward = take()
    torch.autograd.grad(out, leaves, torch.ones_like(out))
    return forward, take()


@pytest.mark.parametrize("implementation", METHODS)
@pytest.mark.parametrize("dtype", MMA_FLOPS)
@pytest.mark.parametrize("name", ["block_16", "block_32", "block_64", "width_64", "width_128"])
def test_products_and_launches_are_those_of_the_model(name, dtype, implementation, monkeypatch):
    # Of plain loads and stores too, but those of P by the pipeline: two rows of float32 on a bank.
    if (implementation, dtype) != ("pipeline", torch.float32):
        monkeypatch.setenv("EMU_BANKS", "1")
    case, pattern = CASES[name], CASES[name].pattern
    shape = KernelShape(
        batch=case.batch,
        heads=case.heads,
        length=pattern.length,
        head_dim=case.width,
        block_size=pattern.block_size,
        n_blocks=pattern.nnzb,
    )
    precision = HALF if dtype == torch.float16 else TF32X3
    passes = zip(("forward", "backward"), count(case, dtype, implementation), strict=True)
    for which, (launches, mma, _, conflicts) in passes:
        expected = WORK[METHODS[implementation], which](shape, precision)
        assert mma * MMA_FLOPS[dtype] == sum(launch.flops for launch in expected), which
        # The model has many heads and no cut columns, whose sums take one more launch.
        is_cut = implementation == "fused" and which == "backward" and launches == 3
        assert launches == sum(launch.count for launch in expected) + is_cut, which
        assert conflicts == 0, which


@pytest.mark.parametrize(("name", "expected"), [("many_heads", (1, 2)), ("long_column", (1, 3))])
def test_only_cut_columns_take_a_third_backward_launch(name, expected):
    passes = count(FUSED_CASES[name], torch.float16, "fused")
    assert tuple(launches for launches, *_ in passes) == expected
