"""The operators in plain PyTorch: what every kernel is compared with."""

from spion_bench.ops.reference.attention import (
    attention_map,
    block_attention,
    block_attention_by_rows,
    block_dropout,
    block_sddmm,
    block_softmax,
    block_spmm,
    block_spmm_transposed,
    dropout,
    softmax_rows,
    to_dense,
    to_tiles,
)
from spion_bench.ops.reference.dropout import dropout_keep_mask
from spion_bench.ops.reference.pattern import average_pool, diagonal_conv, flood_fill

__all__ = [
    "attention_map",
    "average_pool",
    "block_attention",
    "block_attention_by_rows",
    "block_dropout",
    "block_sddmm",
    "block_softmax",
    "block_spmm",
    "block_spmm_transposed",
    "diagonal_conv",
    "dropout",
    "dropout_keep_mask",
    "flood_fill",
    "softmax_rows",
    "to_dense",
    "to_tiles",
]
