"""The operators in plain PyTorch: what every kernel is held to."""

from spion_bench.ops.reference.attention import (
    attention_map,
    block_attention,
    block_attention_by_rows,
    block_dropout,
    block_sddmm,
    block_softmax,
    block_spmm,
    block_spmm_transposed,
    softmax_rows,
    to_dense,
    to_tiles,
)

__all__ = [
    "attention_map",
    "block_attention",
    "block_attention_by_rows",
    "block_dropout",
    "block_sddmm",
    "block_softmax",
    "block_spmm",
    "block_spmm_transposed",
    "softmax_rows",
    "to_dense",
    "to_tiles",
]
