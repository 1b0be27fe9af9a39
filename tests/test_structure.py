"""What may import what, and which files belong together; read from the sources with ``ast``."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "spion_bench"
BASELINES = ROOT / "baselines"

KERNELS = {"backends", "block_pattern", "kernels"}
BUILD = {"build", "cuda_kernels"}
OPS = {"ops", *KERNELS}
PATTERN = {"pattern", *OPS}
MODEL = {"model", "tasks", *PATTERN}
TRAIN = {"train", "records", *MODEL}
HARNESS = {"harness", "measure", *TRAIN}

# Part -> the parts that it may import. `cli -> harness -> train -> model -> pattern -> ops`, never
# back; tasks, measure and report stand beside.
MAY_IMPORT = {
    "__init__": HARNESS,
    "__main__": {"cli"},
    "block_pattern": set(),
    "records": set(),
    "build": set(),
    "cuda_kernels": {"build"},
    "kernels": BUILD,
    "backends": {"build", "kernels"},
    "ops": OPS,
    "pattern": PATTERN,
    "model": MODEL,
    "tasks": {"tasks"},
    "datasets": {"datasets", "tasks"},
    "data_cli": {"datasets", "harness", "tasks"},
    "train": TRAIN,
    "measure": {"measure", "records", "kernels"},
    "report": {"report", "records"},
    "harness": HARNESS,
    "doctor": {"kernels", "measure", "tasks"},
    "cli": {"cli", "data_cli", "doctor", "report", *HARNESS},
    "asv_suite": {"asv_suite", *HARNESS},
}
TORCHLESS = {"tasks", "datasets", "data_cli", "records", "report"}
BASELINES_MAY_IMPORT = (
    "baselines",
    "spion_bench.model.attention",
    "spion_bench.block_pattern",
    "spion_bench.ops",
)
SOURCES = sorted([*PACKAGE.rglob("*.py"), *BASELINES.rglob("*.py")])

# Files of `ops` that are not an operator's.
OPS_SUPPORT = {"__init__", "checks", "checks_pattern", "registration"}
REFERENCES = ("reference", "reference_dropout", "reference_pattern")
OPERATORS = sorted(
    path.stem
    for path in (PACKAGE / "ops").glob("*.py")
    if path.stem not in {*OPS_SUPPORT, *REFERENCES}
)


def imports_of(path):
    """Return every module name that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
            if node.module == "spion_bench":
                found |= {f"spion_bench.{alias.name}" for alias in node.names}
    return found


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name_of(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=name_of)
def test_imports_run_one_way(path):
    parts = {
        name.split(".")[1]
        for name in imports_of(path)
        if name.startswith("spion_bench.") and name != "spion_bench.__version__"
    }
    assert parts <= MAY_IMPORT[part_of(path)]


@pytest.mark.parametrize("path", sorted(BASELINES.rglob("*.py")), ids=name_of)
def test_baselines_see_the_attention_protocol_only(path):
    own = {name for name in imports_of(path) if name.startswith(("spion_bench", "baselines"))}
    assert all(name.startswith(BASELINES_MAY_IMPORT) for name in own)


def test_the_suite_loads_baselines_by_name_only():
    importers = [p for p in PACKAGE.rglob("*.py") if any("baselines" in m for m in imports_of(p))]
    assert importers == []


@pytest.mark.parametrize("part", sorted(TORCHLESS))
def test_parts_without_torch_name_no_torch(part):
    paths = [path for path in PACKAGE.rglob("*.py") if part_of(path) == part]
    assert paths
    for path in paths:
        assert not any(name.split(".")[0] == "torch" for name in imports_of(path)), path


@pytest.mark.parametrize("module", ["records", "report.render", "tasks", "cli"])
def test_importing_them_imports_no_torch(module):
    code = f"import sys, spion_bench.{module}; print('torch' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"


@pytest.mark.parametrize("operator", OPERATORS)
def test_one_operator_one_name(operator):
    assert (ROOT / "csrc" / "cpu" / f"{operator}.cpp").is_file()
    assert (ROOT / "tests" / "ops" / f"test_{operator}.py").is_file()
    assert operator in functions_of(PACKAGE / "ops" / f"{operator}.py")
    references = [functions_of(PACKAGE / "ops" / f"{name}.py") for name in REFERENCES]
    assert sum(operator in functions for functions in references) == 1


def functions_of(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_there_are_operators():
    assert {"block_attention", "block_sddmm", "flood_fill"} <= set(OPERATORS)


@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_do_not_import_one_another_nor_their_reference(operator):
    imported = {
        name.removeprefix("spion_bench.ops.")
        for name in imports_of(PACKAGE / "ops" / f"{operator}.py")
    }
    assert imported.isdisjoint(REFERENCES)
    if operator != "block_attention":  # the paper's pipeline is composed of the others
        assert imported.isdisjoint(OPERATORS)


@pytest.mark.parametrize("name", REFERENCES)
def test_references_use_torch_and_the_pattern_only(name):
    own = {m for m in imports_of(PACKAGE / "ops" / f"{name}.py") if m.startswith("spion_bench")}
    assert all(m.startswith(("spion_bench.block_pattern", "spion_bench.ops.ref")) for m in own)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_pickle_anywhere(path):
    assert imports_of(path).isdisjoint({"pickle", "cPickle", "dill", "joblib", "shelve"})
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert node.value.value is False
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("torch", "load"), ("torch", "save")}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_python_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize(
    "path", [p for p in sorted((ROOT / "csrc").rglob("*")) if p.is_file()], ids=name_of
)
def test_kernel_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


def test_every_emulated_test_is_repeated_on_a_gpu():
    of_the_emulator_itself = {"test_emulator.py", "test_work.py"}
    emulated = {path.name for path in (ROOT / "tests" / "emulation").glob("test_*.py")}
    repeated = {path.name for path in (ROOT / "tests" / "cuda").glob("test_*.py")}
    assert emulated - of_the_emulator_itself <= repeated
