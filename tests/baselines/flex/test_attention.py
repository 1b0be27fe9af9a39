import pytest
import torch
from torch.nn.attention import flex_attention as flex_module

from baselines.flex import METHODS
from baselines.flex import attention as flex
from baselines.flex.attention import Flex, flex_block_mask
from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import SpionAttention, UnsupportedError
from spion_bench.ops import reference

LENGTH, SIZE = 128, 16

# torch's compiler imports modules that warn; eager FlexAttention warns that it is slow
pytestmark = pytest.mark.filterwarnings("ignore")


def pattern(seed=0, density=0.4):
    mask = torch.rand(LENGTH // SIZE, LENGTH // SIZE, generator=torch.Generator().manual_seed(seed))
    kept = mask < density
    kept[3] = False  # a row without any block
    kept[5] = True  # a full row
    return BlockPattern.from_mask(kept, SIZE)


def inputs(dtype=torch.float32, requires_grad=False):
    return [torch.randn(2, 2, LENGTH, 16, dtype=dtype).requires_grad_(requires_grad) for _ in "qkv"]


@pytest.fixture
def padding():
    return torch.arange(LENGTH) < torch.tensor([[LENGTH], [70]])


@pytest.fixture
def eager_on_the_cpu(monkeypatch):
    """Run FlexAttention's plain PyTorch path, the only one that trains on a CPU."""
    monkeypatch.setattr(flex_module, "_validate_device", lambda *inputs: None)


def expected(attention, q, k, v, key_padding_mask):
    return reference.block_attention(
        q, k, v, attention.pattern, pruned=attention.pruned, key_padding_mask=key_padding_mask
    )[0]


def test_the_block_mask_is_the_pattern():
    given = pattern()
    block_mask = flex_block_mask(given)
    assert torch.equal(block_mask.to_dense()[0, 0].bool(), given.to_mask())
    assert block_mask.BLOCK_SIZE == (SIZE, SIZE)
    assert int(block_mask.kv_num_blocks.sum()) == 0  # all kept blocks are full ones


def test_lists_alone_are_the_pattern_too():
    block_mask = flex_block_mask(pattern(), lists_only=True)
    assert torch.equal(block_mask.to_dense()[0, 0].bool(), pattern().to_mask())


def test_mask_mod_alone_is_the_pattern_too():
    given = pattern()
    place = torch.arange(LENGTH)
    by_mask_mod = flex_block_mask(given).mask_mod(0, 0, place[:, None], place[None, :])
    assert torch.equal(by_mask_mod, given.to_token_mask())


@pytest.mark.parametrize("pruned", ["minus_inf", "zero_logit"])
@pytest.mark.parametrize("is_padded", [False, True])
@pytest.mark.usefixtures("eager_on_the_cpu")
def test_output_and_gradients_are_those_of_the_pattern(padding, pruned, is_padded):
    mask = padding if is_padded else None
    attention = Flex(pruned, pattern())
    q, k, v = inputs(torch.float64, requires_grad=True)
    if pruned == "minus_inf":
        out = flex.attend(q, k, v, flex_block_mask(attention.pattern), mask, None, {})
    else:
        counts = flex.pruned_counts(attention.pattern).double()
        out = flex.attend(q, k, v, flex_block_mask(attention.pattern), mask, counts, {})
    wanted = expected(attention, q, k, v, mask)
    torch.testing.assert_close(out, wanted)
    weight = torch.randn_like(out)
    torch.testing.assert_close(
        torch.autograd.grad(out, (q, k, v), weight), torch.autograd.grad(wanted, (q, k, v), weight)
    )


@pytest.mark.slow
def test_one_compiled_function_follows_every_pattern_and_padding(padding):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    q, k, v = inputs()
    attention = Flex("minus_inf")
    for mask in (None, padding, padding.flip(0)):
        for seed in range(2):
            attention.pattern = pattern(seed)
            out = attention(q, k, v, mask)
            torch.testing.assert_close(out, expected(attention, q, k, v, mask))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2  # with and without padding


@pytest.mark.parametrize(("size", "tile"), [(16, 16), (32, 32), (64, None), (128, None)])
def test_the_forward_tile_divides_the_block(size, tile):
    options = flex.kernel_options(size, "cuda")
    assert options == ({} if tile is None else {"fwd_BLOCK_M": tile, "fwd_BLOCK_N": tile})
    assert flex.kernel_options(size, "cpu") == {}


@pytest.mark.parametrize("pruned", ["minus_inf", "zero_logit"])
def test_the_kernels_get_the_tiles(pruned, monkeypatch):
    given = []

    def record(q, k, v, **options):
        given.append(options["kernel_options"])
        lse = q.new_zeros(q.shape[:3])
        return (q, flex_module.AuxOutput(lse=lse)) if "return_aux" in options else q

    monkeypatch.setattr(flex, "flex_attention", record)
    counts = flex.pruned_counts(pattern()) if pruned == "zero_logit" else None
    tiles = flex.kernel_options(SIZE, "cuda")
    flex.attend(*inputs(), flex_block_mask(pattern()), None, counts, tiles)
    assert given == [{"fwd_BLOCK_M": SIZE, "fwd_BLOCK_N": SIZE}]


@pytest.mark.parametrize(
    ("device", "mode"), [("cpu", None), ("cuda", "max-autotune-no-cudagraphs")]
)
def test_the_compiler_times_its_tiles_on_a_gpu(device, mode, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda function, **options: asked.append(options))
    flex.compiled.__wrapped__(device)
    assert asked == [{"dynamic": False, "fullgraph": True, "mode": mode}]


def test_the_record_names_the_tiles():
    attention = Flex("minus_inf", pattern())
    assert attention.details() == {}
    attention._tiles = flex.kernel_options(32, "cuda")
    assert attention.details() == {"tiles": "forward 32 x 32, backward autotuned"}
    attention._tiles = flex.kernel_options(64, "cuda")
    assert attention.details() == {"tiles": "autotuned"}


def test_without_a_pattern_it_is_spions_dense_phase(padding):
    q, k, v = inputs()
    spion = SpionAttention("zero_logit")(q, k, v, padding)
    assert torch.equal(Flex("zero_logit")(q, k, v, padding), spion)
    assert METHODS[0].shares_prefix


def test_training_on_the_cpu_is_unsupported():
    q, k, v = inputs(requires_grad=True)
    with pytest.raises(UnsupportedError, match="no backward pass on the CPU"):
        Flex("minus_inf", pattern())(q, k, v)
    assert Flex.capabilities.trains_on("cuda")
    assert not Flex.capabilities.trains_on("cpu")


def test_zero_logit_on_the_cpu_is_unsupported():
    with pytest.raises(UnsupportedError, match="pruned='minus_inf'"):
        Flex("zero_logit", pattern())(*inputs())


def test_a_failing_compiler_is_unsupported_with_its_reason(monkeypatch):
    def fail(*arguments):
        raise RuntimeError("No working C++ compiler found\nmore text")

    monkeypatch.setattr(flex, "compiled", lambda device: fail)
    with pytest.raises(UnsupportedError, match=r"^compiled flex_attention: No working C\+\+"):
        Flex("minus_inf", pattern())(*inputs())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.slow
@pytest.mark.parametrize("pruned", ["minus_inf", "zero_logit"])
def test_it_trains_on_cuda(padding, pruned):
    attention = Flex(pruned, pattern().to("cuda"))
    q, k, v = (x.cuda().requires_grad_() for x in inputs())
    out, wanted = attention(q, k, v, padding.cuda()), expected(attention, q, k, v, padding.cuda())
    torch.testing.assert_close(out, wanted)
    torch.testing.assert_close(
        torch.autograd.grad(out.sum(), (q, k, v)), torch.autograd.grad(wanted.sum(), (q, k, v))
    )
