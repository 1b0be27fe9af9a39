"""SPION on PyTorch's FlexAttention: the same pattern, a different kernel."""

from spion_bench.suite.method import Method

METHODS = (
    Method(
        "flex",
        "SPION-CF on PyTorch's FlexAttention instead of block_attention",
        "baselines.flex.attention:Flex",
        family="spion",
        role="isolates",
        native="FlexAttention",
        variant="CF",
        shares_prefix=True,
    ),
)
