"""xFormers' memory-efficient operators, dense or in a window (extra ``xformers``); CUDA only."""

from functools import partial

from spion_bench.suite.method import Argument, Method

_operators = partial(Method, native="xFormers", requires=("xformers",), devices=("cuda",))

METHODS = (
    _operators(
        "xformers_fmha",
        "exact dense attention through xFormers' memory-efficient operators",
        "baselines.xformers.fmha:XformersFmha",
        family="dense",
        role="reference",
    ),
    _operators(
        "xformers_window",
        "a window of 512 tokens through xFormers, in bfloat16",
        "baselines.xformers.fmha:XformersWindow",
        family="sparse",
        role="rival",
        arguments={"window": Argument(512, "lra")},
    ),
)
