import subprocess
import sys

import pytest
import torch

from spion_bench.block_pattern import BlockPattern
from spion_bench.harness.names import UsageError
from spion_bench.harness.registry import METHODS, attention_maker, find_method, load_object
from spion_bench.model.attention import Attention, SpionAttention
from spion_bench.tasks import load_config

SPION = load_config("image").spion


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_can_be_built_and_computes_attention(method):
    attention = attention_maker(method, SPION)(0)
    assert isinstance(attention, Attention)
    assert set(method.devices) <= set(attention.capabilities.devices)
    q = torch.randn(1, 2, 16, 8)
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


def test_unknown_method_suggests_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'dense_sdpa'"):
        find_method("dense_spda")


def test_objects_are_loaded_by_name():
    assert load_object("spion_bench.model.attention:SpionAttention") is SpionAttention


def test_listing_methods_and_planning_import_no_torch():
    code = (
        "import sys, spion_bench.cli\n"
        "from spion_bench.harness.plan import Machine, expand\n"
        "from spion_bench.harness.profile import load_profile\n"
        "expand(load_profile('smoke'), Machine('cpu', 1))\n"
        "print('torch' in sys.modules, 'baselines' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["False", "False"]
