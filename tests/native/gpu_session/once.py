"""``python -m tests.native.gpu_session.once``: the fused operator once per shape, for ncu.

Only what lies between the profiler's start and stop is meant to be profiled; a first pass outside
of it loads the kernels.
"""

from __future__ import annotations

import os

import torch

from spion_bench import block_attention
from spion_bench.passes.synthetic import band_and_stripes

# B, H, L, D, block size, share of kept blocks, dtype: a head width of modern models at a length
# where the kernels fill the GPU, and the published shape of retrieval.
SHAPES = (
    (4, 8, 4096, 64, 64, 0.04, torch.float16),
    (4, 8, 4096, 64, 64, 0.04, torch.float32),
    (32, 2, 4096, 32, 64, 0.025, torch.float16),
)


def main(device: str) -> None:
    for batch, heads, length, width, block, density, dtype in SHAPES:
        if device == "cpu":
            batch, heads, length, dtype = 1, 1, 512, torch.float32
        nb = length // block
        pattern = band_and_stripes(length, block, max(nb, round(density * nb * nb))).to(device)
        draw = lambda: torch.randn(batch, length, heads, width, device=device).to(dtype)  # noqa: B023, E731
        q, k, v, dout = (draw().transpose(1, 2) for _ in range(4))
        q, k, v = (x.requires_grad_() for x in (q, k, v))

        def step() -> None:
            out = block_attention(q, k, v, pattern, pruned="minus_inf")  # noqa: B023
            torch.autograd.grad(out, (q, k, v), dout)  # noqa: B023

        step()
        if device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.profiler.start()
            step()
            torch.cuda.synchronize()
            torch.cuda.profiler.stop()
        print(f"B={batch} H={heads} L={length} D={width} S={block} {dtype}: done", flush=True)


if __name__ == "__main__":
    main(os.environ["GPU_SESSION_DEVICE"])
