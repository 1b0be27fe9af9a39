"""Windows of neighbouring tokens, and Longformer's with its global token."""

from functools import partial

from spion_bench.suite.method import Argument, Method

_rival = partial(Method, family="sparse", role="rival", native="PyTorch")
_SLIDING = "baselines.window.sliding:SlidingWindow"
_LONGFORMER = "baselines.window.longformer:Longformer"

# Long Range Arena's Longformer has this window and no global token.
_WINDOW = Argument(512, "lra")
_MATCHED = Argument("matched_window", "ours", of_spion=True)
# The paper makes the classification token global.
_ONE_GLOBAL = Argument(1, "paper")

METHODS = (
    _rival(
        "sliding_window",
        "a window of 512 tokens",
        _SLIDING,
        arguments={"window": _WINDOW},
    ),
    _rival(
        "sliding_window@matched",
        "a window with as many keys as SPION-CF keeps at most",
        _SLIDING,
        arguments={"window": _MATCHED},
    ),
    _rival(
        "longformer",
        "Longformer: a window of 512 tokens and a global one",
        _LONGFORMER,
        arguments={"window": _WINDOW, "n_global": _ONE_GLOBAL},
    ),
    _rival(
        "longformer@matched",
        "Longformer with a window with as many keys as SPION-CF keeps at most",
        _LONGFORMER,
        arguments={"window": _MATCHED, "n_global": _ONE_GLOBAL},
    ),
    _rival(
        "longformer@window128",
        "Longformer with a window of 128 tokens, for sequences of 512 and 1024",
        _LONGFORMER,
        # 512 of 4096 tokens, scaled to 1024.
        arguments={"window": Argument(128, "ours"), "n_global": _ONE_GLOBAL},
    ),
)
