"""Low rank: keys and values are summarised before queries see them."""

from functools import partial

from spion_bench.suite.method import Argument, Method

_rival = partial(Method, family="low_rank", role="rival", native="PyTorch")
_LINFORMER = "baselines.low_rank.linformer:Linformer"
_NYSTROMFORMER = "baselines.low_rank.nystromformer:Nystromformer"
_LENGTH = Argument("length", "paper", of_spion=True)

METHODS = (
    _rival(
        "linformer",
        "Linformer: 128 learned mixtures of the keys and values",
        _LINFORMER,
        arguments={"rank": Argument(128, "skyformer"), "length": _LENGTH},
    ),
    _rival(
        "linformer@rank256",
        "Linformer with 256 mixtures",
        _LINFORMER,
        arguments={"rank": Argument(256, "ours"), "length": _LENGTH},
    ),
    _rival(
        "nystromformer",
        "Nystromformer: 128 landmarks, without its convolution",
        _NYSTROMFORMER,
        # Skyformer's code leaves the convolution out: its settings name no size.
        arguments={
            "landmarks": Argument(128, "skyformer"),
            "filter_size": Argument(0, "skyformer"),
        },
    ),
    _rival(
        "nystromformer@convolution",
        "Nystromformer: 64 landmarks and a convolution of the values",
        _NYSTROMFORMER,
        # The authors' code for the Long Range Arena has filters of 35 tokens, and 32 to 256
        # landmarks; the choice among them is ours.
        arguments={"landmarks": Argument(64, "ours"), "filter_size": Argument(35, "paper")},
    ),
)
