"""Calls of every operator that takes lists of blocks, and lists that are none."""

import torch

from spion_bench.block_pattern import BlockPattern

SIZE, LENGTH = 16, 48
PATTERN = BlockPattern.from_mask(torch.tensor([[1, 0, 1], [0, 1, 0], [0, 0, 1]]), SIZE)
CROW, COL, T_CROW, T_ROW, T_TILE = PATTERN.index_tensors
BY_ROW = {"crow_indices": CROW, "col_indices": COL}
BY_COLUMN = {"t_crow_indices": T_CROW, "t_row_indices": T_ROW, "t_tile_indices": T_TILE}
BOTH = BY_ROW | BY_COLUMN

HEADS, TILES = torch.ones(1, 2, LENGTH, 8), torch.ones(1, 2, PATTERN.nnzb, SIZE, SIZE)
LSE = torch.ones(1, 2, LENGTH)
QKV = {"q": HEADS, "k": HEADS, "v": HEADS}
BLOCK = {"block_size": SIZE}
SOFTMAX = BLOCK | {"zero_logit": True, "key_padding_mask": None}
ATTENTION = (
    SOFTMAX | {"groups": 1, "causal": False} | {"scale": 1.0, "dropout_p": 0.5, "dropout_seed": 0}
)
GRADIENTS = {"dout": HEADS, "dlse": LSE, "out": HEADS, "lse": LSE}
CALLS = {
    "block_attention_forward": QKV | BOTH | ATTENTION,
    "block_attention_backward": GRADIENTS | QKV | BOTH | ATTENTION,
    "block_sddmm": {"q": HEADS, "k": HEADS} | BOTH | BLOCK | {"scale": 1.0},
    "block_softmax": {"scores": TILES} | BY_ROW | SOFTMAX,
    "block_softmax_backward": {"dprobs": TILES, "dlse": LSE, "probs": TILES, "crow_indices": CROW}
    | BLOCK,
    "block_spmm": {"probs": TILES, "v": HEADS} | BOTH | BLOCK,
    "block_spmm_transposed": {"probs": TILES, "v": HEADS} | BY_COLUMN | BLOCK,
    "block_dropout": {"probs": TILES} | BY_ROW | BLOCK | {"p": 0.5, "seed": 1},
}
WILD = {
    "empty": lambda x: x[:0],
    "short": lambda x: x[:-1],
    "long": lambda x: torch.cat([x, x[-1:] + 1]),
    "negative": lambda x: x - 1,
    "beyond": lambda x: x + 1,
    "far": lambda x: torch.full_like(x, 2**31 - 1),
    "falls": lambda x: torch.tensor([0, 2**31 - 1, -2, *x[3:].tolist()], dtype=torch.int32),
    "int64": torch.Tensor.long,
    "strided": lambda x: torch.stack([x, x], 1)[:, 0],
    "two_dimensions": lambda x: x[None],
}


def read_lists(name: str, backend: str) -> list[str]:
    """Return the lists that an operator reads; what it is given for others changes nothing."""
    lists = [word for word in CALLS[name] if word.endswith("_indices")]
    by_row = [word for word in lists if word in BY_ROW]
    if name == "block_attention_backward" and backend == "emulated":
        return lists
    return by_row or lists
