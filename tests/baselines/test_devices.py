"""Every method makes its tensors where its inputs lie: on a GPU, one of the host is a copy."""

import pytest
import torch
from torch.overrides import TorchFunctionMode

from spion_bench.model.attention import UnavailableError, UnsupportedError
from spion_bench.passes.attention import attention_maker
from spion_bench.passes.synthetic import band_and_stripes
from spion_bench.suite.methods import METHODS
from spion_bench.tasks import load_config

SPION = load_config("image").spion
LENGTH = 256
FACTORIES = {
    *(torch.arange, torch.empty, torch.eye, torch.full, torch.linspace, torch.ones, torch.zeros),
    *(torch.rand, torch.randint, torch.randn, torch.randperm, torch.tensor, torch.as_tensor),
    torch.from_numpy,
}


class FactoryWatch(TorchFunctionMode):
    """A double of a device: notes every tensor that is made without saying where."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in FACTORIES and kwargs.get("device") is None:
            self.found.append(func.__name__)
        return func(*args, **kwargs)


def made_on_the_host(attention, masked):
    q, k, v = torch.randn(3, 2, 2, LENGTH, 16).requires_grad_().unbind()
    mask = torch.arange(LENGTH).expand(2, LENGTH) < LENGTH - 7 if masked else None
    attention(q, k, v, mask)
    with FactoryWatch() as watch:
        attention(q, k, v, mask).sum().backward()
    return watch.found


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", METHODS)
def test_a_second_step_makes_nothing_on_the_host(name, masked):
    method = METHODS[name]
    if method.native == "transformers":
        pytest.skip("as it is: its masks are made on the host in every pass")
    pattern = [band_and_stripes(LENGTH, SPION.block_size, 12)] if method.variant else None
    try:
        attention = attention_maker(method.info(SPION, LENGTH), SPION, pattern)(0)
        assert made_on_the_host(attention, masked) == []
    except (UnavailableError, UnsupportedError) as error:
        pytest.skip(str(error))


def test_the_watch_finds_a_tensor_of_the_host():
    assert made_on_the_host(lambda q, k, v, mask: q + torch.arange(16), masked=False) == ["arange"]
