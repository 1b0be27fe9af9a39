"""Low rank: keys and values are summarised before queries see them."""

from spion_bench.suite.method import Argument, Method

_LINFORMER = "baselines.low_rank.linformer:Linformer"
_NYSTROMFORMER = "baselines.low_rank.nystromformer:Nystromformer"
_LENGTH = Argument("length", "paper", of_spion=True)

METHODS = (
    Method(
        "linformer",
        "Linformer: 128 learned mixtures of the keys and values",
        _LINFORMER,
        family="low_rank",
        role="rival",
        native="PyTorch",
        arguments={"rank": Argument(128, "skyformer"), "length": _LENGTH},
    ),
    Method(
        "linformer@rank256",
        "Linformer with 256 mixtures",
        _LINFORMER,
        family="low_rank",
        role="rival",
        native="PyTorch",
        arguments={"rank": Argument(256, "ours"), "length": _LENGTH},
    ),
    Method(
        "nystromformer",
        "Nystromformer: 128 landmarks, without its convolution",
        _NYSTROMFORMER,
        family="low_rank",
        role="rival",
        native="PyTorch",
        # Skyformer's code leaves the convolution out: its settings name no size.
        arguments={
            "landmarks": Argument(128, "skyformer"),
            "filter_size": Argument(0, "skyformer"),
        },
    ),
    Method(
        "nystromformer@convolution",
        "Nystromformer: 64 landmarks and a convolution of the values",
        _NYSTROMFORMER,
        family="low_rank",
        role="rival",
        native="PyTorch",
        # The authors' code for the Long Range Arena has filters of 35 tokens, and 32 to 256
        # landmarks; the choice among them is ours.
        arguments={"landmarks": Argument(64, "ours"), "filter_size": Argument(35, "paper")},
    ),
)
