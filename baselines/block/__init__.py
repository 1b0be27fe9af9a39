"""Patterns of whole blocks: BigBird's, Sparse Transformer's, and SPION's kernel on those."""

from functools import partial

from spion_bench.suite.method import Argument, Method

_rival = partial(Method, family="sparse", role="rival", native="PyTorch")
_bigbird = partial(_rival, factory="baselines.block.bigbird:BigBird", takes_layer=True)
_SPARSE_TRANSFORMER = "baselines.block.sparse_transformer:SparseTransformer"

# Long Range Arena's counts. It draws its random blocks among the first 1024 tokens; those of
# `bigbird` lie anywhere, as in the paper.
_COUNTS = {"n_window": Argument(3, "lra"), "n_random": Argument(3, "lra")}
_BIGBIRD_BLOCK = Argument(64, "lra")
_SPION_BLOCK = Argument("block_size", "ours", of_spion=True)

_PATTERNS = {
    "window_block": "the blocks of a window of 512 tokens",
    "longformer_block": "the blocks of Longformer's window and global token",
    "bigbird_block": "BigBird's blocks",
    "strided": "Sparse Transformer's strided pattern",
    "fixed": "Sparse Transformer's fixed pattern",
}

METHODS = (
    _bigbird(
        "bigbird",
        "BigBird: window, global and random blocks of 64 tokens",
        arguments={"block_size": _BIGBIRD_BLOCK, **_COUNTS},
    ),
    _bigbird(
        "bigbird@lra",
        "BigBird as in the Long Range Arena: random blocks in the first 1024 tokens only",
        arguments={
            "block_size": _BIGBIRD_BLOCK,
            **_COUNTS,
            "random_tokens": Argument(1024, "lra"),
        },
    ),
    _bigbird(
        "bigbird@spion_block",
        "BigBird with blocks of SPION's size, for sequences of 512 and 1024",
        arguments={"block_size": _SPION_BLOCK, **_COUNTS},
    ),
    *(
        _rival(
            f"sparse_transformer@{pattern}",
            f"Sparse Transformer: {summary}",
            _SPARSE_TRANSFORMER,
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
