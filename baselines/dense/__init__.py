"""Exact dense attention: what SPION's dense phase computes, and what its paper compares with."""

from spion_bench.suite.method import Method

METHODS = (
    Method(
        "dense_sdpa",
        "exact dense attention through torch's scaled_dot_product_attention",
        "baselines.dense.sdpa:DenseSdpa",
        family="dense",
        role="reference",
        native="PyTorch",
        shares_prefix=True,
    ),
    Method(
        "dense_eager",
        "exact dense attention that stores the [B, H, L, L] probabilities",
        "baselines.dense.eager:DenseEager",
        family="dense",
        role="reference",
        native="PyTorch",
    ),
)
