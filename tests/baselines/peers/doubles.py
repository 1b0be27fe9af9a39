"""Doubles of the packages: they keep what they are given, and compute what these document."""

import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.ops import reference


def pattern(size=64, nb=6, seed=0):
    kept = torch.rand(nb, nb, generator=torch.Generator().manual_seed(seed)) < 0.4
    kept[2] = True  # a full row
    return BlockPattern.from_mask(kept | torch.eye(nb, dtype=torch.bool), size)


def inputs(batch=2, heads=3, length=384, width=128, dtype=torch.bfloat16):
    drawn = torch.randn(4, batch, length, heads, width, generator=torch.Generator().manual_seed(1))
    return [x.to(dtype).transpose(1, 2) for x in drawn]


def plain(q, k, v, given):
    """Attention over ``given`` in float32, rounded as the packages' kernels round it."""
    q32, k32, v32 = (x.detach().float().requires_grad_() for x in (q, k, v))
    out, lse = reference.block_attention(q32, k32, v32, given, pruned="minus_inf")
    return out.to(q.dtype), lse, (out, (q32, k32, v32))


class BSA:
    """Stands for ``cudnn.BSA``: its two functions with their parameters of version 1.32."""

    def __init__(self):
        self.calls = []

    def pattern_of(self, index, nums, size, shape):
        batch, heads, length, _ = shape
        assert index.dtype == nums.dtype == torch.int32
        assert index.is_contiguous()
        assert index.shape[:3] == nums.shape == (batch, heads, length // size)
        rows = [sorted(row[:n].tolist()) for row, n in zip(index[0, 0], nums[0, 0], strict=True)]
        assert all(len(set(row)) == len(row) for row in rows)
        assert torch.equal(index, index[:1, :1].expand_as(index))
        kept = torch.zeros(len(rows), length // size, dtype=torch.bool)
        for number, row in enumerate(rows):
            kept[number, row] = True
        return BlockPattern.from_mask(kept, size)

    def block_sparse_attention_forward(
        self,
        q_tensor,
        k_tensor,
        v_tensor,
        q2k_block_index,
        block_sparse_num=None,
        block_sizes=None,
        q2k_block_nums=None,
        *,
        sparse_block_size=None,
        allow_empty_block_nums=False,
        softmax_scale=None,
        layout="bhsd",
    ):
        assert all(x.stride(-1) == 1 for x in (q_tensor, k_tensor, v_tensor))
        given = self.pattern_of(q2k_block_index, q2k_block_nums, sparse_block_size, q_tensor.shape)
        out, lse, _ = plain(q_tensor, k_tensor, v_tensor, given)
        self.calls.append(("forward", given, allow_empty_block_nums))
        return {"o_tensor": out.detach(), "lse_tensor": lse.detach()}

    def block_sparse_attention_backward(
        self,
        do_tensor,
        q_tensor,
        k_tensor,
        v_tensor,
        o_tensor,
        lse_tensor,
        q2k_block_index,
        block_sparse_num=None,
        block_sizes=None,
        q2k_block_nums=None,
        *,
        softmax_scale=None,
        sparse_block_size=None,
        layout="bhsd",
    ):
        assert do_tensor.stride(-1) == 1
        given = self.pattern_of(q2k_block_index, q2k_block_nums, sparse_block_size, q_tensor.shape)
        with torch.enable_grad():
            out, lse, (out32, leaves) = plain(q_tensor, k_tensor, v_tensor, given)
        assert torch.equal(o_tensor, out)
        assert torch.equal(lse_tensor, lse)
        self.calls.append(("backward", given))
        dq, dk, dv = torch.autograd.grad(out32, leaves, do_tensor.float())
        names = ("dq_tensor", "dk_tensor", "dv_tensor")
        return dict(zip(names, (x.to(q_tensor.dtype) for x in (dq, dk, dv)), strict=True))


class Wrapper:
    """Stands for ``flashinfer.BlockSparseAttentionWrapper`` of version 0.7."""

    made = ()

    def __init__(self, float_workspace_buffer, backend="auto"):
        assert float_workspace_buffer.dtype == torch.uint8
        self._backend, self.plans = backend, []
        Wrapper.made = (*Wrapper.made, self)

    def plan(
        self,
        indptr,
        indices,
        M,  # noqa: N803 - the package's names
        N,  # noqa: N803
        R,  # noqa: N803
        C,  # noqa: N803
        num_qo_heads,
        num_kv_heads,
        head_dim,
        *,
        q_data_type="float16",
        o_data_type="float16",
    ):
        assert indptr.dtype == indices.dtype == torch.int32
        assert (M, R, num_qo_heads) == (N, C, num_kv_heads)
        assert q_data_type == o_data_type
        self.plans.append((M, num_qo_heads, head_dim, q_data_type))
        self.pattern = BlockPattern(R, indptr, indices)
        if self._backend == "auto":
            self._backend = "fa3"

    def run(self, q, k, v):
        rows, heads, width, dtype = self.plans[-1]
        assert q.shape == k.shape == v.shape == (rows, heads, width)
        assert q.dtype == dtype
        out, _, _ = plain(*(x.transpose(0, 1)[None] for x in (q, k, v)), self.pattern)
        return out[0].transpose(0, 1).contiguous()
