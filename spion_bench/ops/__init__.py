"""The operators of SPION: Python interfaces, checks, fake kernels and gradients of the C++ kernels.

``reference`` defines every operator in plain PyTorch.
"""

from spion_bench.ops.attention_map import attention_map
from spion_bench.ops.average_pool import average_pool
from spion_bench.ops.block_attention import block_attention
from spion_bench.ops.block_dropout import block_dropout
from spion_bench.ops.block_sddmm import block_sddmm
from spion_bench.ops.block_softmax import block_softmax
from spion_bench.ops.block_spmm import block_spmm
from spion_bench.ops.diagonal_conv import diagonal_conv
from spion_bench.ops.dropout import dropout
from spion_bench.ops.flood_fill import flood_fill

__all__ = [
    "attention_map",
    "average_pool",
    "block_attention",
    "block_dropout",
    "block_sddmm",
    "block_softmax",
    "block_spmm",
    "diagonal_conv",
    "dropout",
    "flood_fill",
]
