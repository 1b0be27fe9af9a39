from types import SimpleNamespace

import pytest
import torch

from baselines.peers import PEERS, peer
from baselines.peers import flashinfer as flashinfer_peer
from baselines.peers.cudnn_bsa import CudnnBsa, block_lists
from baselines.peers.flashinfer import FlashInfer, repeated
from baselines.peers.peer import Inputs
from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import UnavailableError, UnsupportedError
from spion_bench.passes.kernel.attention import check_implementation
from spion_bench.suite.cases.peers import PEER_CASES, PEER_IMPLEMENTATIONS
from spion_bench.suite.implementations import find_implementation
from spion_bench.suite.method import UNPROVEN, load_object
from spion_bench.suite.methods import METHODS
from tests.baselines.peers.doubles import BSA, Wrapper, inputs, pattern, plain

HALF, FLOAT16, FLOAT32 = torch.bfloat16, torch.float16, torch.float32
BOTH = pytest.mark.parametrize("kind", [CudnnBsa, FlashInfer])


@pytest.fixture
def packages(monkeypatch):
    """Replace both packages, and the GPU by one of compute capability 9.0."""
    library = SimpleNamespace(BSA=BSA(), BlockSparseAttentionWrapper=Wrapper)
    monkeypatch.setattr(peer, "load_optional", lambda module, extra: library)
    monkeypatch.setattr(peer, "capability", lambda q: (9, 0))
    monkeypatch.setattr(flashinfer_peer, "capability", lambda q: (9, 0))
    monkeypatch.setattr(Wrapper, "made", ())
    return library


def test_cudnn_gets_the_pattern_and_gives_output_and_gradients(packages):
    given = pattern()
    attention = CudnnBsa("minus_inf", given)
    q, k, v, dout = inputs()
    q, k, v = (x.requires_grad_() for x in (q, k, v))
    out = attention(q, k, v)
    expected, _, (out32, leaves) = plain(q, k, v, given)
    assert torch.equal(out, expected)
    gradients = torch.autograd.grad(out, (q, k, v), dout)
    wanted = torch.autograd.grad(out32, leaves, dout.float())
    assert all(torch.equal(g, w.to(HALF)) for g, w in zip(gradients, wanted, strict=True))
    assert packages.BSA.calls == [("forward", given, False), ("backward", given)]


def test_cudnn_is_told_of_rows_without_blocks(packages):
    kept = torch.eye(6, dtype=torch.bool)
    kept[4] = False
    attention = CudnnBsa("minus_inf", BlockPattern.from_mask(kept, 64))
    attention(*inputs()[:3])
    assert packages.BSA.calls[-1][-1] is True


def test_lists_of_blocks_are_the_pattern():
    index, counts = block_lists(
        BlockPattern.from_mask(torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0]]) > 0, 64)
    )
    assert counts.tolist() == [2, 0, 1]
    assert index.tolist() == [[0, 2], [0, 0], [1, 0]]


@pytest.mark.usefixtures("packages")
def test_flashinfer_gets_the_pattern_once_for_a_whole_batch():
    given = pattern()
    attention = FlashInfer("minus_inf", given)
    assert attention.details() == {}
    q, k, v, _ = inputs()
    for _ in range(2):
        torch.testing.assert_close(attention(q, k, v), plain(q, k, v, given)[0])
    [wrapper] = Wrapper.made
    assert wrapper.plans == [(2 * 384, 3, 128, HALF)]
    assert attention.details() == {"backend": "fa3"}
    attention(*inputs(batch=1)[:3])
    assert len(Wrapper.made) == 2


def test_a_repeated_pattern_is_block_diagonal():
    given = pattern(nb=3)
    twice = BlockPattern(64, *repeated(given, 2))
    assert torch.equal(twice.to_mask(), torch.block_diag(given.to_mask(), given.to_mask()))


@pytest.mark.parametrize(
    ("major", "size", "width", "backend"),
    [(9, 64, 128, "fa3"), (10, 64, 128, "vsa_sm100_blk64"), (10, 128, 64, "vsa_sm100_blk128")],
)
@pytest.mark.usefixtures("packages")
def test_flashinfer_runs_its_kernel_for_the_gpu(major, size, width, backend):
    attention = FlashInfer("minus_inf", pattern(size))
    attention.prepare(major, 1, 1, width, HALF, torch.device("cpu"))
    assert attention.details() == {"backend": backend}


@pytest.mark.parametrize(
    ("kind", "capability", "dtype", "width", "size", "trains", "refusal"),
    [
        (CudnnBsa, (9, 0), HALF, 128, 64, True, None),
        (CudnnBsa, (9, 0), HALF, 128, 128, True, None),
        (CudnnBsa, (9, 0), FLOAT16, 96, 64, False, None),
        (CudnnBsa, (10, 0), HALF, 64, 128, True, None),
        (CudnnBsa, (9, 0), HALF, 64, 64, True, "head width D of 128 .* backward pass .* got 64"),
        (CudnnBsa, (9, 0), FLOAT16, 128, 64, True, "expected bfloat16 .* got float16"),
        (CudnnBsa, (9, 0), FLOAT32, 128, 64, False, "bfloat16 or float16 .* got float32"),
        (CudnnBsa, (9, 0), HALF, 32, 64, False, "head width D of 64 or 96 or 128 .* got 32"),
        (CudnnBsa, (9, 0), HALF, 128, 32, True, "blocks of 64 or 128 .* got 32"),
        (CudnnBsa, (10, 0), FLOAT16, 128, 64, False, "expected bfloat16 .* got float16"),
        (CudnnBsa, (12, 0), HALF, 128, 64, True, "9.x, 10.x, 11.x for a backward pass, got 12.0"),
        (CudnnBsa, (8, 0), HALF, 128, 64, False, "capability 9.x, .* got 8.0"),
        (FlashInfer, (8, 0), FLOAT16, 128, 32, False, None),
        (FlashInfer, (9, 0), HALF, 128, 64, True, "it has no backward pass"),
        (FlashInfer, (7, 5), HALF, 128, 64, False, "8.0 or newer, got 7.5"),
        (FlashInfer, (9, 0), FLOAT32, 128, 64, False, "bfloat16 or float16, got float32"),
        (FlashInfer, (9, 0), HALF, 32, 64, False, "head width D of 64 or 128 or 256 .* got 32"),
    ],
)
@pytest.mark.usefixtures("packages")
def test_what_a_package_does_not_take_has_a_reason(
    kind, capability, dtype, width, size, trains, refusal, monkeypatch
):
    monkeypatch.setattr(peer, "capability", lambda q: capability)
    attention = kind("minus_inf", pattern(size, nb=3))
    q, k, v, _ = inputs(1, 1, 3 * size, width, dtype)
    q.requires_grad_(trains)
    if refusal is None:
        assert attention(q, k, v).shape == q.shape
    else:
        with pytest.raises(UnsupportedError, match=refusal):
            attention(q, k, v)


@BOTH
@pytest.mark.usefixtures("packages")
def test_what_no_peer_computes_has_a_reason(kind):
    with pytest.raises(UnsupportedError, match="expected pruned='minus_inf', got 'zero_logit'"):
        kind("zero_logit", pattern())
    with pytest.raises(UnsupportedError, match="expected one pattern for all heads, got None"):
        kind("minus_inf", None)
    with pytest.raises(UnsupportedError, match="expected no padding"):
        kind("minus_inf", pattern())(*inputs()[:3], torch.ones(2, 384, dtype=torch.bool))


def test_what_a_package_refuses_itself_is_unsupported_in_its_words(packages, monkeypatch):
    def refuse(*arguments, **named):
        raise NotImplementedError("SM90 blk128 requires 16-byte\naligned rows")

    monkeypatch.setattr(BSA, "block_sparse_attention_forward", refuse)
    with pytest.raises(UnsupportedError, match="CudnnBsa: SM90 blk128 requires 16-byte aligned"):
        CudnnBsa("minus_inf", pattern())(*inputs()[:3])


@BOTH
def test_without_a_gpu_the_reason_is_that(kind, monkeypatch):
    monkeypatch.setattr(peer, "load_optional", lambda module, extra: None)
    with pytest.raises(UnsupportedError, match="q: expected a CUDA tensor, got one on cpu"):
        kind("minus_inf", pattern())(*inputs()[:3])


@pytest.mark.parametrize(("kind", "extra"), [(CudnnBsa, "cudnn-bsa"), (FlashInfer, "flashinfer")])
def test_a_missing_package_names_its_extra(kind, extra, monkeypatch):
    monkeypatch.setattr(kind, "package", "no_such_package")
    with pytest.raises(UnavailableError, match=rf"spion_bench\[{extra}\]"):
        kind("minus_inf", pattern())


@pytest.mark.parametrize("name", ["cudnn_bsa", "flashinfer"])
@pytest.mark.usefixtures("packages")
def test_a_peer_passes_the_gate_of_its_case(name, monkeypatch):
    monkeypatch.setattr("spion_bench.passes.kernel.attention.LONGEST_CHECK_OF_PASSES", 512)
    result = check_implementation(find_implementation(name), PEER_CASES[0], 0)
    assert result.reason is None
    assert len(result.errors) == (4 if name == "cudnn_bsa" else 1)


def test_peers_say_that_no_gpu_has_run_them_and_are_no_methods():
    for entry in PEERS:
        assert UNPROVEN in entry.summary
        assert UNPROVEN in load_object(entry.factory).caveats
        assert entry.name not in METHODS
        assert entry.name in PEER_IMPLEMENTATIONS


def test_every_case_is_one_that_both_packages_take():
    shapes = {(case.length, case.block_size) for case in PEER_CASES}
    assert shapes == {(length, size) for length in (4096, 8192, 16384) for size in (64, 128)}
    for case in PEER_CASES:
        dtype = getattr(torch, case.dtype)
        for kind, trains in ((CudnnBsa, True), (FlashInfer, False)):
            asked = Inputs((9, 0), dtype, case.head_dim, case.block_size, trains)
            assert kind.shape_refusal(None, asked) is None
