"""Every operator has one name: in Python, in C++, on every device and in its tests."""

import re
import tomllib
from pathlib import Path

import pytest

from spion_bench import ops
from spion_bench.native import library
from spion_bench.ops import reference

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "csrc"
SOURCES = {".cpp", ".h", ".cu", ".cuh"}
COMPOSED = {"dropout"}  # of other operators: it has no kernel of its own
NAMES = sorted(set(ops.__all__) - COMPOSED)
HELPERS = {"__init__", "checks", "checks_pattern", "registration"}  # of ops: no operators


def entry_of(operator):
    """Return the operator that an entry point belongs to: block_spmm of block_spmm_transposed."""
    return [name for name in NAMES if re.fullmatch(rf"{name}(_[a-z]+)?", operator)]


def read(*parts):
    return CSRC.joinpath(*parts).read_text(encoding="utf-8")


def test_a_module_of_ops_is_an_operator():
    modules = {path.stem for path in (ROOT / "spion_bench" / "ops").glob("*.py")}
    assert modules - HELPERS - COMPOSED == set(NAMES)
    assert set(NAMES) < set(reference.__all__)


@pytest.mark.parametrize(
    "file",
    [
        "csrc/cpu/{}.cpp",
        "csrc/cuda/{}.h",
        "csrc/cuda/{}_bind.h",
        "tests/ops/test_{}.py",
        "tests/emulation/test_{}.py",
        "tests/cuda/test_{}.py",
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_every_layer_has_a_file_of_the_operators_name(name, file):
    assert (ROOT / file.format(name)).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_kernels_and_instances_begin_with_the_operators_name(name):
    for pattern in ("cuda/{}*.cuh", "cuda/instances/{}*.cu", "cpu/{}*.cpp"):
        assert list(CSRC.glob(pattern.format(name))), pattern


def test_one_list_of_operators():
    listed = re.findall(r"^  X\((\w+)\)", read("operators.h"), re.MULTILINE)
    assert tuple(listed) == library.OPERATORS
    schemas = re.findall(r'm\.def\(\s*"(\w+)\(', read("schema.cpp"))
    assert sorted(schemas) == sorted([*listed, "cpu_capability"])
    for operator in listed:
        (name,) = entry_of(operator)
        assert f'm.impl("{operator}"' in read("cpu", f"{name}.cpp")
        assert f'"{operator}"' in (ROOT / "spion_bench" / "ops" / f"{name}.py").read_text("utf-8")
    assert {name for operator in listed for name in entry_of(operator)} == set(NAMES)


def test_every_cpu_source_is_compiled():
    included = re.findall(r'^#include "\.\./(\w+\.cpp)"', read("cpu/common/operators.cpp"), re.M)
    assert included == sorted(path.name for path in (CSRC / "cpu").glob("*.cpp"))


def test_nothing_else_lists_operators_to_bind():
    for file in ("cuda/common/bind.cpp", "emulation/bind.cpp"):
        text = read(file)
        assert text.count("SPION_OPERATORS(") == text.count("#undef SPION_")
        assert re.findall(r'm\.(?:impl|def)\("(\w+)', text) in ([], ["take_statistics"])


@pytest.mark.parametrize("folder", ["cpu", "cuda", "cuda/instances"])
def test_files_outside_of_common_begin_with_an_operators_name(folder):
    files = [path for path in (CSRC / folder).iterdir() if path.suffix in SOURCES]
    assert files
    for file in files:
        assert any(file.stem == name or file.stem.startswith(f"{name}_") for name in NAMES), file


def test_the_wheel_carries_every_source_of_every_library():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    globs = project["tool"]["setuptools"]["package-data"]["spion_bench.csrc"]
    carried = {path for pattern in globs for path in CSRC.glob(pattern)}
    wanted = {path for path in CSRC.rglob("*") if path.suffix in SOURCES}
    assert {path for path in wanted - carried if path.parent.name != "driver"} == set()
