import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.ops import block_attention, reference
from tests.budgets import assert_within_budget
from tests.ops.cases import CASES, PRUNED, REACH, is_square
from tests.ops.oracle import NAMES, forward_backward

HALF = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("name", CASES | REACH)
def test_matches_the_oracle(name, pruned, dtype):
    case = (CASES | REACH)[name]
    options = {
        "pattern": case.pattern,
        "pruned": pruned,
        "causal": name in REACH and is_square(case),
        "key_padding_mask": case.key_padding_mask(),
        "dropout_p": 0.25,
        "dropout_seed": 11,
    }
    qkv = case.inputs(dtype)
    dout = torch.randn(qkv[0].shape).to(dtype)
    dlse = torch.randn(qkv[0].shape[:3])
    got = forward_backward(block_attention, qkv, dout, dlse, return_lse=True, **options)
    low = forward_backward(reference.block_attention, qkv, dout, dlse.to(dtype), **options)
    oracle = forward_backward(
        reference.block_attention,
        [x.double() for x in qkv],
        dout.double(),
        dlse.double(),
        **options,
    )
    for name, g, ref, exact in zip(NAMES, got, low, oracle, strict=True):
        assert_within_budget(name, g, ref.float() if name == "lse" else ref, exact)


@pytest.mark.parametrize("dtype", HALF)
def test_accumulates_in_float32(dtype):
    # 4096 equal probabilities of 2^-12 sum to 1 in float32; 16-bit sums would stop growing.
    q = torch.zeros(1, 1, 4096, 16, dtype=dtype)
    pattern = BlockPattern.full(4096, 128)
    out, lse = block_attention(
        q, q, torch.ones_like(q), pattern, pruned="minus_inf", return_lse=True
    )
    torch.testing.assert_close(out.float(), torch.ones(out.shape), rtol=0, atol=0)
    assert lse.dtype == torch.float32
    torch.testing.assert_close(lse, torch.full(lse.shape, 4096.0).log())


@pytest.mark.parametrize("dtype", HALF)
def test_every_16_bit_number_passes_through_exactly(dtype):
    # With a single key per query the output is v itself: widened, multiplied by 1, narrowed.
    bits = torch.arange(2**16).to(torch.int32).to(torch.uint16)
    v = bits.view(dtype).reshape(1, 1, -1, 16)
    length = v.shape[2]
    q = torch.zeros(1, 1, length, 16, dtype=dtype)
    # 0 * infinity of a padded key's value would be NaN, so only finite blocks can be compared. All
    # finite numbers are in such: exponents that are not finite fill whole blocks.
    finite = v.reshape(1, 1, -1, 8, 16).isfinite().all(dim=3).repeat_interleave(8, dim=2)
    assert torch.equal(finite, v.isfinite())
    for real_key in range(8):  # of each block of 8
        mask = (torch.arange(length) % 8 == real_key)[None]
        out = block_attention(
            q, q, v, BlockPattern.band(length, 8, 0), pruned="minus_inf", key_padding_mask=mask
        )
        expected = v[:, :, real_key::8].repeat_interleave(8, dim=2)
        assert torch.equal(out[finite], expected[finite])


@pytest.mark.parametrize("dtype", HALF)
def test_rounds_to_nearest_even_as_torch_does(dtype):
    # The mean of two keys needs one more bit than they have.
    generator = torch.Generator().manual_seed(0)
    v = (torch.randn(1, 1, 4096, 16, generator=generator) * 10).to(dtype)
    q = torch.zeros_like(v)
    mask = torch.zeros(1, 4096, dtype=torch.bool)
    mask[:, 0::8] = mask[:, 1::8] = True
    out = block_attention(
        q, q, v, BlockPattern.band(4096, 8, 0), pruned="minus_inf", key_padding_mask=mask
    )
    mean = (v[:, :, 0::8].float() * 0.5 + v[:, :, 1::8].float() * 0.5).to(dtype)
    assert torch.equal(out, mean.repeat_interleave(8, dim=2))


@pytest.mark.parametrize("dtype", HALF)
def test_nan_and_infinity_come_out_as_such(dtype):
    v = torch.zeros(1, 1, 8, 16, dtype=dtype)
    v[..., 0, 0], v[..., 0, 1] = torch.nan, torch.inf
    out = block_attention(
        torch.zeros_like(v), torch.zeros_like(v), v, BlockPattern.full(8, 8), pruned="minus_inf"
    )
    assert out[..., 0].isnan().all()
    assert (out[..., 1] == torch.inf).all()


@pytest.mark.parametrize("dtype", HALF)
def test_bits_do_not_depend_on_the_number_of_threads(dtype):
    case = CASES["one_head"]
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        dout = torch.ones(case.inputs(dtype)[0].shape, dtype=dtype)
        lse_grad = torch.ones(dout.shape[:3])
        options = {"pattern": case.pattern, "pruned": "zero_logit", "return_lse": True}
        results.append(
            forward_backward(block_attention, case.inputs(dtype), dout, lse_grad, **options)
        )
    torch.set_num_threads(2)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("dtype", HALF)
def test_opcheck(dtype):
    case = CASES["block_8"]
    q, k, v = (x.requires_grad_() for x in case.inputs(dtype))
    pattern = case.pattern
    torch.library.opcheck(
        torch.ops.spion_bench.block_attention_forward.default,
        (q, k, v, *pattern.index_tensors, pattern.block_size, 1, False, True, None, 0.2, 0.1, 3),
    )


def test_the_pipeline_asks_for_full_precision():
    q = torch.zeros(1, 1, 16, 16, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match="q: expected float32 or float64, got bfloat16"):
        block_attention(
            q, q, q, BlockPattern.full(16, 8), pruned="minus_inf", implementation="pipeline"
        )
