"""Cases at which the kernels of other projects can run: wide heads, large blocks, 16 bit; no torch.

What the packages take of forward and backward pass alike: D = 128, blocks of 64 or 128 tokens, and
bfloat16. A tenth of the blocks is kept, the share for which they are written.
"""

from __future__ import annotations

from spion_bench.suite.cases.case import KernelCase

PEER_IMPLEMENTATIONS = (
    *("block_attention", "flex", "cudnn_bsa", "flashinfer"),
    *("csr_pipeline_float32", "dense_sdpa"),
)
PEER_SWEEP = "peers"
"""What the report's kernel page calls the table."""

PEER_CASES = tuple(
    KernelCase(
        name=f"peers_L{length}_block{block_size}",
        batch=1,
        heads=8,
        length=length,
        head_dim=128,
        block_size=block_size,
        density=0.1,
        dtype="bfloat16",
        implementations=PEER_IMPLEMENTATIONS,
        reason="the kernels of other projects on the same blocks, on a GPU",
        measures="passes",
        sweeps=(PEER_SWEEP,),
        device="cuda",
    )
    for block_size in (64, 128)
    for length in (4096, 8192, 16384)
)
