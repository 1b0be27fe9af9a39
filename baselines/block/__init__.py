"""Patterns of whole blocks: BigBird's, Sparse Transformer's, and SPION's kernel on those."""

from spion_bench.suite.method import Argument, Method

_BIGBIRD = "baselines.block.bigbird:BigBird"
_SPARSE_TRANSFORMER = "baselines.block.sparse_transformer:SparseTransformer"

# Long Range Arena's counts. It draws its random blocks among the first 1024 tokens; those of
# `bigbird` lie anywhere, as in the paper.
_BIGBIRD_BLOCK = Argument(64, "lra")
_BIGBIRD_WINDOW = Argument(3, "lra")
_BIGBIRD_RANDOM = Argument(3, "lra")
_SPION_BLOCK = Argument("block_size", "ours", of_spion=True)

_PATTERNS = {
    "window_block": "the blocks of a window of 512 tokens",
    "longformer_block": "the blocks of Longformer's window and global token",
    "bigbird_block": "BigBird's blocks",
    "strided": "Sparse Transformer's strided pattern",
    "fixed": "Sparse Transformer's fixed pattern",
}

METHODS = (
    Method(
        "bigbird",
        "BigBird: window, global and random blocks of 64 tokens",
        _BIGBIRD,
        family="sparse",
        role="rival",
        native="PyTorch",
        arguments={
            "block_size": _BIGBIRD_BLOCK,
            "n_window": _BIGBIRD_WINDOW,
            "n_random": _BIGBIRD_RANDOM,
        },
        takes_layer=True,
    ),
    Method(
        "bigbird@lra",
        "BigBird as in the Long Range Arena: random blocks in the first 1024 tokens only",
        _BIGBIRD,
        family="sparse",
        role="rival",
        native="PyTorch",
        arguments={
            "block_size": _BIGBIRD_BLOCK,
            "n_window": _BIGBIRD_WINDOW,
            "n_random": _BIGBIRD_RANDOM,
            "random_tokens": Argument(1024, "lra"),
        },
        takes_layer=True,
    ),
    Method(
        "bigbird@spion_block",
        "BigBird with blocks of SPION's size, for sequences of 512 and 1024",
        _BIGBIRD,
        family="sparse",
        role="rival",
        native="PyTorch",
        arguments={
            "block_size": _SPION_BLOCK,
            "n_window": _BIGBIRD_WINDOW,
            "n_random": _BIGBIRD_RANDOM,
        },
        takes_layer=True,
    ),
    *(
        Method(
            f"sparse_transformer@{pattern}",
            f"Sparse Transformer: {summary}",
            _SPARSE_TRANSFORMER,
            family="sparse",
            role="rival",
            native="PyTorch",
            # The paper counts its stride in tokens, and its kernels' blocks differ by model.
            arguments={"pattern": Argument(pattern, "paper"), "block_size": Argument(64, "ours")},
        )
        for pattern, summary in (
            ("strided", "local blocks and blocks a stride apart"),
            ("fixed", "groups of blocks and a summary block of each"),
        )
    ),
    *(
        Method(
            f"spion+{pattern}",
            f"SPION's kernel on {summary}, in SPION's block size",
            "baselines.block.spion_kernel:SpionKernel",
            family="sparse",
            role="isolates",
            native="block_attention",
            arguments={"pattern": Argument(pattern, "ours"), "block_size": _SPION_BLOCK},
            takes_layer=True,
        )
        for pattern, summary in _PATTERNS.items()
    ),
)
