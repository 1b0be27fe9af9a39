"""Controls: what is left of the model, in accuracy and in time, without choosing where to look."""

from functools import partial

from spion_bench.suite.method import Method

_control = partial(Method, family="control", role="control", native="PyTorch")

METHODS = (
    _control(
        "no_attention",
        "control: the attention sub-layer returns zeros",
        "baselines.control.controls:NoAttention",
    ),
    _control(
        "mean_attention",
        "control: every token gets the mean of all values",
        "baselines.control.controls:MeanAttention",
    ),
)
