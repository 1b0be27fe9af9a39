"""Controls: what is left of the model, in accuracy and in time, without choosing where to look."""

from spion_bench.suite.method import Method

METHODS = (
    Method(
        "no_attention",
        "control: the attention sub-layer returns zeros",
        "baselines.control.controls:NoAttention",
        family="control",
        role="control",
        native="PyTorch",
    ),
    Method(
        "mean_attention",
        "control: every token gets the mean of all values",
        "baselines.control.controls:MeanAttention",
        family="control",
        role="control",
        native="PyTorch",
    ),
)
