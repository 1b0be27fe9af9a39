import ast
import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch

import baselines
from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import Attention, SpionAttention, UnavailableError
from spion_bench.passes import attention as building
from spion_bench.passes.attention import attention_maker
from spion_bench.records.cell import Family, Origin, Role
from spion_bench.suite.method import Argument, Method, load_object
from spion_bench.suite.methods import METHODS, PEERS
from spion_bench.tasks import load_config

SPION = load_config("image").spion
LENGTH = 1024
ROOT = Path(__file__).resolve().parents[2]
FAMILIES = sorted(path.parent.name for path in (ROOT / "baselines").glob("*/__init__.py"))


def info_of(name):
    return METHODS[name].info(SPION, LENGTH)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_can_be_built_and_computes_attention(method):
    try:
        attention = attention_maker(method.info(SPION, LENGTH), SPION)(0)
    except UnavailableError as error:
        pytest.skip(str(error))  # a package that only an extra installs
    assert isinstance(attention, Attention)
    assert set(method.devices) <= set(attention.capabilities.devices)
    if "cpu" in method.devices:
        q = torch.randn(1, 2, LENGTH, 8)
        assert attention(q, q, q).shape == q.shape


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_states_its_facts(method):
    assert method.family in get_args(Family)
    assert method.role in get_args(Role)
    assert method.summary
    assert method.native
    info = method.info(SPION, LENGTH)
    assert info.origins.keys() == info.arguments.keys()
    assert set(info.origins.values()) <= set(get_args(Origin))


def test_roles_are_those_of_the_comparison():
    def names(role):
        return [name for name, method in METHODS.items() if method.role == role]

    assert next(iter(METHODS)) == "dense_sdpa"
    assert names("subject") == ["spion_c", "spion_f", "spion_cf"]
    assert set(names("reference")) == {"dense_sdpa", "dense_eager", "xformers_fmha"}
    assert {"reformer", "bigbird", "longformer", "sliding_window"} <= set(names("rival"))
    # A rival competes at any setting.
    assert {"longformer@matched", "bigbird@spion_block"} <= set(names("rival"))
    assert {"flex", "spion+fixed", "spion_cf@pipeline"} <= set(names("isolates"))


def test_settings_say_honestly_whose_they_are():
    assert info_of("reformer").origins == {"chunk": "skyformer", "n_hashes": "skyformer"}
    assert info_of("longformer").origins == {"window": "lra", "n_global": "paper"}
    assert info_of("longformer@window128").origins["window"] == "ours"
    assert info_of("sparse_transformer@fixed").origins["block_size"] == "ours"


def test_facts_about_spion_are_resolved_for_the_task():
    assert info_of("sliding_window@matched").arguments == {"window": 72}
    assert info_of("bigbird@spion_block").arguments["block_size"] == SPION.block_size
    assert info_of("sliding_window@matched").base == "sliding_window"


def test_each_layer_gets_its_pattern():
    patterns = [BlockPattern.band(64, 8, 0), BlockPattern.full(64, 8)]
    make = attention_maker(info_of("spion_cf"), SPION, patterns)
    layers = [make(0), make(1)]
    assert all(isinstance(layer, SpionAttention) for layer in layers)
    assert [layer.pattern for layer in layers] == patterns
    assert layers[0].pruned == SPION.pruned
    assert layers[0].implementation == "fused"
    assert attention_maker(info_of("spion_cf@pipeline"), SPION)(0).implementation == "pipeline"


def test_arguments_are_stated_and_reach_the_factory(monkeypatch):
    method = Method(
        "windowed",
        "",
        "module:object",
        family="sparse",
        role="rival",
        native="",
        arguments={
            "window": Argument(8, "ours"),
            "name": Argument("a", "paper"),
            "block_size": Argument("block_size", "ours", of_spion=True),
        },
        takes_layer=True,
    )
    info = method.info(SPION, LENGTH)
    expected = {"window": 8, "name": "a", "block_size": SPION.block_size}
    assert info.arguments == expected
    monkeypatch.setattr(building, "load_object", lambda name: lambda **given: given)
    make = attention_maker(info, SPION)
    assert [make(0), make(3)] == [{**expected, "layer": 0}, {**expected, "layer": 3}]


@pytest.mark.parametrize("name", ["bigbird", "reformer"])
def test_layers_draw_for_themselves(name):
    q = torch.randn(1, 1, LENGTH, 8)
    make = attention_maker(info_of(name), SPION)
    first, other = (make(layer)(q, q, q) for layer in (0, 1))
    assert not torch.equal(first, other)
    assert torch.equal(first, make(0)(q, q, q))


def test_methods_that_share_a_prefix_train_densely_as_spion_does():
    shared = {name for name, method in METHODS.items() if method.shares_prefix}
    assert shared == {
        "dense_sdpa",
        *("spion_c", "spion_f", "spion_cf", "spion_cf@pipeline", "flex"),
        *("spion_cf@window", "spion_cf@random", "spion_cf@top_mass"),
        *("spion_cf@minus_inf", "spion_cf@per_layer"),  # the latter only in the joint mode
    }
    q, k, v = torch.randn(3, 1, 2, 64, 8)
    outs = [attention_maker(info_of(name), SPION)(0)(q, k, v) for name in sorted(shared)]
    assert all(torch.equal(out, outs[0]) for out in outs)


def test_objects_are_loaded_by_name():
    assert load_object("spion_bench.model.attention:SpionAttention") is SpionAttention


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_names_its_methods_without_importing_their_code(family):
    tree = ast.parse((ROOT / "baselines" / family / "__init__.py").read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= {"functools", "spion_bench.suite.method"}
    assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))
    module = importlib.import_module(f"baselines.{family}")
    stated = [
        (method, known)
        for what, known in (("METHODS", METHODS), ("PEERS", PEERS))
        for method in getattr(module, what, ())
    ]
    assert bool(stated) is (family != "shared")
    for method, known in stated:
        assert known[method.name] is method
        assert method.factory.startswith(f"baselines.{family}.")


def test_every_family_is_a_package_that_is_installed():
    folders = {module.name for module in pkgutil.iter_modules(baselines.__path__)}
    assert folders == set(FAMILIES)
    packaged = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f'"baselines.{family}"' in packaged for family in FAMILIES)


NEW_BASELINE = """
from spion_bench.suite.method import Argument, Method

METHODS = (
    Method(
        "throw_away", "a baseline that is not kept", "baselines.new.own:Own",
        family="sparse", role="rival", native="PyTorch",
        arguments={"width": Argument(4, "paper")},
    ),
)
"""


def run(code, path=ROOT):
    """Run code in a fresh interpreter that looks for modules in ``path`` first."""
    found = os.pathsep.join([str(path), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=path,
        env={**os.environ, "PYTHONPATH": found},
    ).stdout.split()


def test_a_new_baseline_needs_its_module_and_its_entry_only(tmp_path):
    family = tmp_path / "baselines" / "new"
    family.mkdir(parents=True)
    (tmp_path / "baselines" / "__init__.py").write_text("")
    (family / "__init__.py").write_text(NEW_BASELINE)
    code = (
        "from spion_bench.suite.methods import METHODS\n"
        "print(METHODS['throw_away'].arguments['width'].origin, 'spion_cf' in METHODS)"
    )
    assert run(code, tmp_path) == ["paper", "True"]


def test_two_methods_of_one_name_are_refused(monkeypatch):
    monkeypatch.setattr("baselines.dense.METHODS", (METHODS["spion_cf"],))
    from spion_bench.suite import methods

    with pytest.raises(ValueError, match="spion_cf is defined twice"):
        methods._by_name((*methods.SPION_METHODS, *methods._collect("METHODS")))


def test_listing_methods_and_planning_import_no_torch():
    code = (
        "import sys, spion_bench.cli\n"
        "from spion_bench.suite.plan import Machine, expand\n"
        "from spion_bench.suite.profile import load_profile\n"
        "expand(load_profile('smoke'), Machine('cpu', 1))\n"
        "loaded = [name for name in sys.modules if name.startswith('baselines.')]\n"
        "print('torch' in sys.modules, sorted(name.count('.') for name in loaded)[-1])"
    )
    assert run(code) == ["False", "1"]  # the families' lists, none of their modules
