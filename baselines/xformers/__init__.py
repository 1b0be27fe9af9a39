"""xFormers' memory-efficient operators, dense or in a window (extra ``xformers``); CUDA only."""

from spion_bench.suite.method import Argument, Method

METHODS = (
    Method(
        "xformers_fmha",
        "exact dense attention through xFormers' memory-efficient operators",
        "baselines.xformers.fmha:XformersFmha",
        family="dense",
        role="reference",
        native="xFormers",
        requires=("xformers",),
        devices=("cuda",),
    ),
    Method(
        "xformers_window",
        "a window of 512 tokens through xFormers, in bfloat16",
        "baselines.xformers.fmha:XformersWindow",
        family="sparse",
        role="rival",
        native="xFormers",
        requires=("xformers",),
        devices=("cuda",),
        arguments={"window": Argument(512, "lra")},
    ),
)
