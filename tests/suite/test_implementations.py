import subprocess
import sys
from typing import get_args

import pytest

from spion_bench.passes.kernel.attention import bind
from spion_bench.records.cell import Family, Role
from spion_bench.records.names import UsageError
from spion_bench.suite.cases import CASES, find_case
from spion_bench.suite.implementations import IMPLEMENTATIONS, find_implementation
from spion_bench.suite.method import load_object
from spion_bench.suite.methods import METHODS, PEERS

CASE = find_case("attention_256")
BUILT_HERE = sorted(
    name
    for name, entry in IMPLEMENTATIONS.items()
    if entry.method in METHODS and "cpu" in METHODS[entry.method].devices
)


@pytest.mark.parametrize("entry", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
def test_every_implementation_states_its_facts(entry):
    assert IMPLEMENTATIONS[entry.name] is entry
    assert entry.family in get_args(Family)
    assert entry.role in get_args(Role)
    assert entry.summary
    assert entry.native
    assert callable(load_object(entry.build))
    assert (entry.call == "") is (entry.operator == "attention")


@pytest.mark.parametrize("name", BUILT_HERE)
def test_one_that_is_a_method_is_built_from_the_methods_entry(name):
    entry = find_implementation(name)
    method = METHODS[entry.method]
    assert isinstance(bind(entry, CASE).method, load_object(method.factory))
    info = entry.info(CASE)
    assert (info.factory, info.native, info.family) == (
        method.factory,
        method.native,
        method.family,
    )
    assert info.base == method.name


def test_the_window_is_as_dense_as_the_pattern():
    info = find_implementation("sliding_window").info(CASE)
    assert info.arguments == {"window": CASE.window}
    assert info.origins == {"window": "ours"}


def test_no_method_of_a_case_takes_facts_about_a_task():
    for entry in IMPLEMENTATIONS.values():
        if entry.method is not None:
            method = (METHODS | PEERS)[entry.method]
            assert not any(argument.of_spion for argument in method.arguments.values())


def test_the_float32_twin_computes_a_16_bit_case_in_float32():
    case = find_case("sweep_bfloat16")
    dtypes = {name: find_implementation(name).computes_in(case) for name in case.implementations}
    assert dtypes == {"block_attention": "bfloat16", "block_attention_float32": "float32"}


def test_packages_of_an_extra_are_named():
    assert find_implementation("dense_xformers").requires == ("xformers",)
    assert find_implementation("cudnn_bsa").requires == ("nvidia-cudnn-frontend",)
    assert find_implementation("sgemm").requires == ()


def test_every_implementation_computes_some_case():
    assert {name for case in CASES.values() for name in case.implementations} == set(
        IMPLEMENTATIONS
    )


def test_unknown_implementation_suggests_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'sgemm'"):
        find_implementation("segmm")


def test_the_registry_and_the_cases_import_no_torch():
    code = (
        "import sys\n"
        "import spion_bench.suite.cases.limits, spion_bench.suite.tables\n"
        "import spion_bench.gpu_model.tables\n"
        "print('torch' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"
