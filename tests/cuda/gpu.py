"""The GPU in the emulator's place: CPU tensors go there, the results come back."""

import torch
from torch.utils._pytree import tree_map_only


class _ToDevice(torch.autograd.Function):
    """Copies a tensor to the GPU as it lies in memory, strides and alignment included."""

    @staticmethod
    def forward(ctx, x):
        if x.numel() == 0:
            return x.cuda()
        extent = 1 + sum((n - 1) * stride for n, stride in zip(x.shape, x.stride(), strict=True))
        before = x.storage_offset() % 16  # elements; allocations begin at multiples of 512 bytes
        memory = torch.empty(before + extent, dtype=x.dtype, device="cuda")[before:]
        memory.copy_(x.as_strided((extent,), (1,)))
        return memory.as_strided(x.shape, x.stride())

    @staticmethod
    def backward(ctx, grad):
        return grad.cpu()


class Operators:
    """Stands for ``torch.ops.spion_bench_emulated``: the same calls, run by a GPU."""

    def __getattr__(self, name):
        operator = getattr(torch.ops.spion_bench, name)

        def run(*args, **named):
            args, named = tree_map_only(torch.Tensor, _ToDevice.apply, (args, named))
            results = operator(*args, **named)
            return tree_map_only(torch.Tensor, torch.Tensor.cpu, results)

        return run
