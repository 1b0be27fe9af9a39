"""Kernels of other projects for the same blocks, each behind an extra: measured alone, in no model.

They take heads and blocks that no task has, so they are implementations of kernel cases and not
methods of the suite.
"""

from functools import partial

from spion_bench.suite.method import UNPROVEN, Method

_peer = partial(Method, family="spion", role="isolates", variant="CF", devices=("cuda",))

PEERS = (
    _peer(
        "cudnn_bsa",
        f"NVIDIA's block-sparse attention (cudnn.BSA) on the same blocks; {UNPROVEN}",
        "baselines.peers.cudnn_bsa:CudnnBsa",
        native="cuDNN",
        requires=("nvidia-cudnn-frontend",),
    ),
    _peer(
        "flashinfer",
        f"FlashInfer's block-sparse attention on the same blocks, forward only; {UNPROVEN}",
        "baselines.peers.flashinfer:FlashInfer",
        native="FlashInfer",
        requires=("flashinfer-python",),
    ),
)
