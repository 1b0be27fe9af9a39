"""What may import what, and which files belong together; read from the sources with ``ast``."""

import ast
import functools
import subprocess
import sys

import pytest

from tests import ROOT

PACKAGE = ROOT / "spion_bench"
BASELINES = ROOT / "baselines"

OPS = {"block_pattern", "kernel_limits", "literals", "native", "ops", "records"}
PATTERN = {"pattern", *OPS}
MODEL = {"model", *PATTERN}
TRAIN = {"train", "tasks", *MODEL}

# Part -> the parts that it may import: `cli -> report | run -> suite`, `run -> passes -> measure,
# train -> model -> pattern -> ops -> native`, never back.
MAY_IMPORT = {
    "__init__": {"block_pattern", "conversion", "measure", "model", "ops", "pattern", "records"},
    "__main__": {"cli"},
    "literals": set(),
    "kernel_limits": set(),
    "records": {"records", "literals"},
    "datasets": {"datasets", "records"},
    "tasks": {"tasks", "datasets", "records", "literals"},
    "suite": {"suite", "tasks", "asv_suite", "records", "kernel_limits", "literals"},
    "gpu_model": {"gpu_model", "suite", "tasks", "records"},
    "report": {"report", "compare", "suite", "tasks", "gpu_model", "records", "literals"},
    "native": {"native", "records", "kernel_limits"},
    "block_lists": {"records"},
    "block_pattern": {"block_lists", "records"},
    "ops": OPS,
    "pattern": PATTERN,
    "model": MODEL,
    "train": TRAIN,
    "conversion": {"conversion", *TRAIN},
    "measure": {"measure", "native", "records"},
    "passes": {"passes", "measure", "suite", "asv_suite", "gpu_model", *TRAIN},
    "run": {"run", "passes", "measure", "suite", *TRAIN},
    "compare": {"compare", "measure", "records"},
    "cli": {"cli", "compare", "report", "run", "gpu_model", "measure", "native", "suite"}
    | {"datasets", "tasks", "records", "literals"},
    "asv_suite": {"BlockPattern", "SpionAttention", "block_attention", "generate_pattern", "ops"},
}
# The same inside two parts, by module or subfolder.
ON_A_TASK = {"gate", "session", "subject", "task_session"}
ON_A_STEP = {"session", "step", "subject"}
MAY_IMPORT_WITHIN = {
    "passes": {
        "attention": set(),
        "synthetic": set(),
        "session": {"gate"},
        "gate": {"gate", "step"},
        "subject": {"attention", "gate", "session", "synthetic"},
        "task_session": {"gate", "session", "subject"},
        "step": {*ON_A_TASK, "step"},
        "ranks": {"session", "task_session"},
        "accuracy": {*ON_A_TASK, "prefix", "ranks", "synthetic"},
        "prefix": {*ON_A_TASK, "ranks"},
        "shortcuts": {"session", "subject"},
        "steps": ON_A_STEP,
        "breakdown": {*ON_A_TASK, "step"},
        "speed": ON_A_STEP,
        "memory": ON_A_STEP,
        "energy": ON_A_STEP,
        "kernel": {"attention", "gate", "kernel", "session", "synthetic"},
    },
    "report": {
        "__init__": {"render"},
        "words": set(),
        "versions": set(),
        "published": set(),
        "methods": set(),
        "parts": {"words"},
        "style": {"methods"},
        "setting": set(),
        "load": {"parts", "setting", "style", "versions", "words"},
        "groups": {"load", "methods", "parts", "setting", "words"},
        "entries": {"groups", "methods", "parts", "words"},
        "layout": {"parts"},
        "evidence": {"evidence", "groups", "parts", "words"},
        "course": {"course", "groups", "load", "methods", "words"},
        "tables": {
            *("course", "entries", "evidence", "groups", "kernels", "load", "methods", "parts"),
            *("published", "tables", "words"),
        },
        "figures": {
            *("course", "entries", "evidence", "figures", "groups", "load", "methods", "parts"),
            *("setting", "style", "tables", "words"),
        },
        "kernels": {
            *("entries", "figures", "groups", "kernels", "load", "methods", "parts", "style"),
            *("layout", "words"),
        },
        "claims": {
            *("claims", "entries", "evidence", "figures", "groups", "load", "methods", "parts"),
            *("layout", "published", "tables", "words"),
        },
        "narrative": {
            *("entries", "evidence", "groups", "kernels", "load", "methods", "parts", "tables"),
            *("layout", "words"),
        },
        "page": {
            *("catalogue", "claims", "figures", "layout", "load", "narrative", "sections"),
            "words",
        },
        "sections": {
            *("catalogue", "figures", "kernels", "layout", "load", "methods", "narrative"),
            *("tables", "words"),
        },
        "sets": {
            *("catalogue", "claims", "entries", "evidence", "figures", "groups", "kernels"),
            *("layout", "load", "parts", "methods", "sections", "sets", "setting", "style"),
            *("tables", "words"),
        },
        "catalogue": {"catalogue", "load", "parts", "tables", "words"},
        "render": {"catalogue", "kernels", "layout", "load", "page", "parts", "sets", "style"},
        "docs": {
            *("claims", "docs", "entries", "evidence", "figures", "groups", "kernels", "load"),
            *("methods", "parts", "style", "tables", "words"),
        },
    },
}
TORCHLESS = {"records", "datasets", "tasks", "suite", "gpu_model", "report", "kernel_limits"}
TORCHLESS |= {"literals"}
FULLEST_FOLDER = 14
BASELINES_MAY_IMPORT = (
    "baselines",
    "spion_bench.suite.method",
    "spion_bench.model.attention",
    "spion_bench.block_pattern",
    "spion_bench.ops",
)
SOURCES = sorted([*PACKAGE.rglob("*.py"), *BASELINES.rglob("*.py")])
OTHERS = [ROOT / "noxfile.py", *(ROOT / "examples").glob("*.py"), *(ROOT / "tests").rglob("*.py")]

# Files of `ops` that are not an operator's.
OPS_SUPPORT = {"__init__", "checks", "checks_pattern", "registration"}
OPERATORS = sorted(
    path.stem for path in (PACKAGE / "ops").glob("*.py") if path.stem not in OPS_SUPPORT
)


@functools.cache
def imports_of(path):
    """Return every module name that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level == 1 and path.is_relative_to(PACKAGE / "asv_suite"):
                continue  # today's benchmarks import one another in front of any package
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


@pytest.mark.parametrize("part", sorted(MAY_IMPORT_WITHIN))
def test_imports_run_one_way_within(part):
    folder, allowed = PACKAGE / part, MAY_IMPORT_WITHIN[part]
    for path in folder.rglob("*.py"):
        own = path.relative_to(folder).parts[0].removesuffix(".py")
        if own == "__init__" and part == "passes":
            continue
        prefix = f"spion_bench.{part}."
        names = {n.removeprefix(prefix).split(".")[0] for n in imports_of(path) if prefix in n}
        assert names <= allowed[own], name_of(path)


@pytest.mark.parametrize("folder", sorted({path.parent for path in SOURCES}), ids=name_of)
def test_no_folder_is_a_heap(folder):
    modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= FULLEST_FOLDER


def test_every_family_of_baselines_states_its_methods_without_torch():
    for path in BASELINES.glob("*/__init__.py"):
        own = {name for name in imports_of(path) if name.startswith(("spion_bench", "torch"))}
        assert own <= {"spion_bench.suite.method"}, path


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


@pytest.mark.parametrize("module", ["records", "report.render", "tasks", "suite.plan", "cli"])
def test_importing_them_imports_no_torch(module):
    code = f"import sys, spion_bench.{module}; print('torch' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"


@pytest.mark.parametrize("operator", OPERATORS)
def test_one_operator_one_name(operator):
    assert operator in functions_of(PACKAGE / "ops" / f"{operator}.py")
    references = [functions_of(path) for path in (PACKAGE / "ops" / "reference").glob("*.py")]
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
    assert not any(name.startswith("reference") for name in imported)
    if operator != "block_attention":  # the paper's pipeline is composed of the others
        assert imported.isdisjoint(OPERATORS)


@pytest.mark.parametrize("path", sorted((PACKAGE / "ops" / "reference").glob("*.py")), ids=name_of)
def test_references_use_torch_and_the_pattern_only(path):
    own = {m for m in imports_of(path) if m.startswith("spion_bench")}
    allowed = ("spion_bench.block_pattern", "spion_bench.literals", "spion_bench.ops.reference")
    assert all(name.startswith(allowed) for name in own)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_pickle_anywhere(path):
    assert imports_of(path).isdisjoint({"pickle", "cPickle", "dill", "joblib", "shelve"})
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert node.value.value is False
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("torch", "load"), ("torch", "save")}


def lines_of(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def test_python_files_are_short():
    assert [name_of(path) for path in (*SOURCES, *OTHERS) if lines_of(path) > 300] == []


def test_kernel_files_are_short():
    files = [path for path in (ROOT / "csrc").rglob("*") if path.is_file()]
    files = [path for path in files if path.suffix != ".toml"]  # a table that nvcc's work fills
    assert [name_of(path) for path in files if lines_of(path) > 500] == []


def test_every_emulated_test_is_repeated_on_a_gpu():
    of_the_emulator_itself = {"test_emulator.py", "test_work.py"}
    emulated = {path.name for path in (ROOT / "tests" / "emulation").glob("test_*.py")}
    repeated = {path.name for path in (ROOT / "tests" / "cuda").glob("test_*.py")}
    assert emulated - of_the_emulator_itself <= repeated
