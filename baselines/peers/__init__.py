"""Kernels of other projects for the same blocks, each behind an extra: measured alone, in no model.

They take heads and blocks that no task has, so they are implementations of kernel cases and not
methods of the suite.
"""

from spion_bench.suite.method import UNPROVEN, Method

PEERS = (
    Method(
        "cudnn_bsa",
        f"NVIDIA's block-sparse attention (cudnn.BSA) on the same blocks; {UNPROVEN}",
        "baselines.peers.cudnn_bsa:CudnnBsa",
        family="spion",
        role="isolates",
        native="cuDNN",
        variant="CF",
        devices=("cuda",),
        requires=("nvidia-cudnn-frontend",),
    ),
    Method(
        "flashinfer",
        f"FlashInfer's block-sparse attention on the same blocks, forward only; {UNPROVEN}",
        "baselines.peers.flashinfer:FlashInfer",
        family="spion",
        role="isolates",
        native="FlashInfer",
        variant="CF",
        devices=("cuda",),
        requires=("flashinfer-python",),
    ),
)
