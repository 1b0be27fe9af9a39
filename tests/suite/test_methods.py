import subprocess
import sys

import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import Attention, SpionAttention, UnsupportedError
from spion_bench.records.names import UsageError
from spion_bench.suite import methods as registry
from spion_bench.suite.methods import (
    METHODS,
    Method,
    attention_maker,
    find_method,
    load_object,
)
from spion_bench.tasks import load_config

SPION = load_config("image").spion


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_can_be_built_and_computes_attention(method):
    try:
        attention = attention_maker(method, SPION)(0)
    except UnsupportedError as error:
        pytest.skip(str(error))  # a package that only an extra installs
    assert isinstance(attention, Attention)
    assert set(method.devices) <= set(attention.capabilities.devices)
    if "cpu" in method.devices:
        q = torch.randn(1, 2, 1024, 8)
        assert attention(q, q, q).shape == q.shape


def test_each_layer_gets_its_pattern():
    patterns = [BlockPattern.band(64, 8, 0), BlockPattern.full(64, 8)]
    make = attention_maker(find_method("spion_cf"), SPION, patterns)
    layers = [make(0), make(1)]
    assert all(isinstance(layer, SpionAttention) for layer in layers)
    assert [layer.pattern for layer in layers] == patterns
    assert layers[0].pruned == SPION.pruned


def test_parameters_name_everything_that_changes_a_number():
    parameters = find_method("spion_c").parameters(SPION)
    assert parameters["variant"] == "C"
    assert parameters["density"] == SPION.density
    assert find_method("dense_sdpa").parameters(SPION) == {}


def test_arguments_are_parameters_and_reach_the_factory(monkeypatch):
    method = Method(
        "windowed",
        "",
        "module:object",
        arguments={"window": 8, "name": "a"},
        spion_arguments=("block_size",),
        takes_layer=True,
    )
    expected = {"window": 8, "name": "a", "block_size": SPION.block_size}
    assert method.parameters(SPION) == expected
    monkeypatch.setattr(registry, "load_object", lambda name: lambda **given: given)
    make = attention_maker(method, SPION)
    assert [make(0), make(3)] == [{**expected, "layer": 0}, {**expected, "layer": 3}]


def test_spions_arguments_come_on_top():
    assert find_method("spion_cf").parameters(SPION).keys() == {
        "variant",
        *type(SPION).model_fields,
    }


@pytest.mark.parametrize("name", ["bigbird", "reformer"])
def test_layers_draw_for_themselves(name):
    q = torch.randn(1, 1, 1024, 8)
    make = attention_maker(find_method(name), SPION)
    first, other = (make(layer)(q, q, q) for layer in (0, 1))
    assert not torch.equal(first, other)
    assert torch.equal(first, make(0)(q, q, q))


def test_unknown_method_suggests_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'dense_sdpa'"):
        find_method("dense_spda")


def test_objects_are_loaded_by_name():
    assert load_object("spion_bench.model.attention:SpionAttention") is SpionAttention


def test_listing_methods_and_planning_import_no_torch():
    code = (
        "import sys, spion_bench.cli\n"
        "from spion_bench.suite.plan import Machine, expand\n"
        "from spion_bench.suite.profile import load_profile\n"
        "expand(load_profile('smoke'), Machine('cpu', 1))\n"
        "print('torch' in sys.modules, 'baselines' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["False", "False"]
