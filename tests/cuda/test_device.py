"""What only a GPU can show: tensors on it, its streams and its graphs."""

import warnings
from contextlib import contextmanager

import pytest
import torch

from spion_bench.ops import block_attention, block_sddmm
from tests.ops.cases import IMPLEMENTATIONS, Case, random_pattern
from tests.ops.oracle import NAMES, check_compiled, forward_backward

CASE = Case(random_pattern(6, 32, 0.4), heads=3, width=64)
OPTIONS = {"pruned": "zero_logit", "return_lse": True, "dropout_p": 0.2, "dropout_seed": 5}


def on_gpu(*tensors):
    return [x.cuda() for x in tensors]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_follows_the_cpu_kernels(implementation):
    qkv = CASE.inputs(torch.float32)
    dout, dlse = torch.randn(qkv[0].shape), torch.randn(qkv[0].shape[:3])
    options = {**OPTIONS, "implementation": implementation}
    expected = forward_backward(block_attention, qkv, dout, dlse, pattern=CASE.pattern, **options)
    pattern = CASE.pattern.to("cuda")
    got = forward_backward(
        block_attention, on_gpu(*qkv), *on_gpu(dout, dlse), pattern=pattern, **options
    )
    for name, g, e in zip(NAMES, got, expected, strict=True):
        assert g.is_cuda, name
        torch.testing.assert_close(
            g.cpu(), e, rtol=1e-4, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )


@contextmanager
def sync_debug_mode(mode):
    """Set it inside the block: torch warns that it is a prototype, and warnings are errors."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.cuda.set_sync_debug_mode(mode)
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def step():
    """Inputs on the GPU, and a function that runs both passes on them without a copy."""
    pattern = CASE.pattern.to("cuda")
    qkv = on_gpu(*CASE.inputs(torch.float16))
    dout, dlse = torch.ones_like(qkv[0]), torch.ones(qkv[0].shape[:3], device="cuda")

    def run(implementation):
        options = {**OPTIONS, "pattern": pattern, "implementation": implementation}
        return forward_backward(block_attention, qkv, dout, dlse, **options)

    return qkv, run


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_nothing_waits_for_the_device(implementation, step):
    _, run = step
    with sync_debug_mode("error"):
        run(implementation)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_graph_replays_what_it_captured(implementation, step):
    qkv, run = step
    side = torch.cuda.Stream()  # a first call, which loads kernels, cannot be captured
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run(implementation)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = run(implementation)
    for x, values in zip(qkv, CASE.inputs(torch.float16, seed=1), strict=True):
        x.copy_(values)
    graph.replay()
    for name, replayed, expected in zip(NAMES, captured, run(implementation), strict=True):
        assert torch.equal(replayed, expected), name


def test_tensors_of_several_devices_are_refused():
    q, k, v = on_gpu(*CASE.inputs(torch.float32))
    with pytest.raises(ValueError, match="pattern: expected device cuda:0 as q, got cpu"):
        block_attention(q, k, v, CASE.pattern, pruned="minus_inf")
    indices = (*CASE.pattern.index_tensors, CASE.pattern.block_size)
    with pytest.raises(RuntimeError, match="crow_indices: expected device cuda:0 as q, got cpu"):
        torch.ops.spion_bench.block_sddmm(q, k, *indices, 1.0)


def test_a_device_that_is_not_the_current_one():
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    q, k, _ = (x.to("cuda:1") for x in CASE.inputs(torch.float32))
    scores = block_sddmm(q, k, CASE.pattern.to("cuda:1"), scale=0.3)
    expected = block_sddmm(q.cpu(), k.cpu(), CASE.pattern, scale=0.3)
    torch.testing.assert_close(scores.cpu(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_compiles_without_graph_breaks(implementation, backend):
    check_compiled(CASE, implementation, backend, device="cuda")


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_autocast_chooses_the_kernels_of_16_bits(implementation):
    q, k, v = on_gpu(*CASE.inputs(torch.float32))
    options = {"pruned": "minus_inf", "implementation": implementation}
    pattern = CASE.pattern.to("cuda")
    with torch.autocast("cuda", dtype=torch.float16):
        out = block_attention(q, k, v, pattern, **options)
    assert out.dtype == torch.float16
    assert torch.equal(out, block_attention(q.half(), k.half(), v.half(), pattern, **options))
