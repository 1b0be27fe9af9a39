import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import UnsupportedError
from spion_bench.ops import reference
from spion_bench.passes.kernel.csr import CsrPipeline, bind_csr_pipeline


def holed_pattern(size):
    mask = torch.rand(8, 8, generator=torch.Generator().manual_seed(0)) < 0.4
    mask[3] = False  # a row without any block
    mask[5] = True  # a full row
    mask[:, 2] = False
    return BlockPattern.from_mask(mask, size)


@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize("is_strided", [False, True])
def test_output_and_gradients_are_those_of_the_pattern(size, is_strided):
    pattern, generator = holed_pattern(size), torch.Generator().manual_seed(1)
    shape = (2, 8 * size, 3, 8) if is_strided else (2, 3, 8 * size, 8)
    *qkv, weight = (torch.randn(shape, generator=generator).double() for _ in range(4))
    if is_strided:
        *qkv, weight = (x.transpose(1, 2) for x in (*qkv, weight))
    q, k, v = (x.requires_grad_() for x in qkv)
    out = bind_csr_pipeline(pattern, torch.float64)(q, k, v)
    expected = reference.block_attention(q, k, v, pattern, pruned="minus_inf")[0]
    torch.testing.assert_close(out, expected)
    got = torch.autograd.grad(out, (q, k, v), weight)
    torch.testing.assert_close(got, torch.autograd.grad(expected, (q, k, v), weight))


def test_the_matrix_holds_each_kept_score_once_and_its_transpose_the_same():
    pattern = holed_pattern(8)
    csr = CsrPipeline(pattern, batch_heads=2)
    values = torch.arange(1.0, 1 + 2 * pattern.nnzb * 64)
    dense = csr.matrix(values).to_dense()
    assert torch.equal(csr.transposed(values).to_dense(), dense.T)
    in_order = torch.empty_like(dense)
    in_order[csr.order] = dense
    kept = torch.block_diag(*[pattern.to_token_mask()] * 2)
    assert torch.equal(in_order != 0, kept.bool())


def test_sixteen_bits_are_unsupported_with_the_reason():
    with pytest.raises(UnsupportedError, match="supports float32 and float64, not float16"):
        bind_csr_pipeline(holed_pattern(8), torch.float16)
