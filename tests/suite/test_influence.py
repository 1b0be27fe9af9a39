"""An edit of a source makes exactly those cells undone whose numbers it can change."""

import shutil

import pytest

from spion_bench.suite import influence
from spion_bench.suite import keys as keys_module
from spion_bench.suite.plan import Machine, expand
from spion_bench.suite.profile import CellGroup, Profile
from tests import ROOT

CACHES = (
    influence.code_hash,
    influence._closure,
    influence._imports,
    influence._file,
    influence._kernels,
    influence._content,
    influence._place,
)


def cell(device="cpu", **fields):
    group = CellGroup(**fields)
    profile = Profile(name="p", description="", cells=(group,))
    return expand(profile, Machine(device, threads=2))[-1]


def task_cell(pass_name, task, method, device="cpu"):
    return cell(device, passes=(pass_name,), task=task, methods=(method,))


CELLS = {
    "accuracy": lambda: task_cell("accuracy", "image", "spion_cf"),
    "speed": lambda: task_cell("speed", "listops", "longformer"),
    "memory": lambda: task_cell("memory", "image", "bigbird"),
    "dense": lambda: task_cell("speed", "image", "dense_sdpa"),
    "kernel": lambda: cell(passes=("kernel",), cases=("attention_256",)),
    "cuda": lambda: task_cell("speed", "image", "spion_cf", "cuda"),
}
CPU = {"accuracy", "speed", "memory", "dense", "kernel"}
IMAGE = {"accuracy", "memory", "dense", "cuda"}
TIMED = {"speed", "dense", "cuda"}
TASK = {*CPU, "cuda"} - {"kernel"}

# File -> the cells whose key an edit changes.
EDITS = {
    "spion_bench/cli/display.py": set(),
    "spion_bench/cli/summary.py": set(),
    "spion_bench/run/runner.py": set(),
    "spion_bench/report/page.py": set(),
    "spion_bench/report/templates/style.css": set(),
    "spion_bench/datasets/download.py": set(),
    "spion_bench/gpu_model/predict.py": set(),
    "spion_bench/records/store.py": set(),
    "spion_bench/records/schema.py": set(),
    "spion_bench/suite/plan.py": set(),
    "spion_bench/suite/profiles/speed.toml": set(),
    "spion_bench/suite/methods.py": set(),
    "spion_bench/asv_suite/bench_attention.py": set(),
    "csrc/emulation/emulator.cpp": set(),
    "csrc/driver/main.cpp": set(),
    "docs/cpu_kernels.md": set(),
    "README.md": set(),
    "baselines/window/__init__.py": set(),
    "baselines/lsh/reformer.py": set(),
    "spion_bench/tasks/text/config.toml": set(),
    "csrc/cpu/common/tile.h": CPU,
    "csrc/cpu/block_attention_kernel.h": CPU,
    "csrc/schema.cpp": {*CPU, "cuda"},
    "csrc/cuda/block_attention_forward.cuh": {"cuda"},
    "spion_bench/native/build.py": {*CPU, "cuda"},
    "spion_bench/ops/block_attention.py": {*CPU, "cuda"},
    "spion_bench/model/attention.py": {*CPU, "cuda"},
    "spion_bench/model/encoder.py": TASK,
    "spion_bench/measure/clock.py": {"kernel", "memory", *TIMED},
    "spion_bench/passes/speed.py": TIMED,
    "spion_bench/passes/memory.py": {"memory"},
    "spion_bench/passes/accuracy.py": {"accuracy"},
    "spion_bench/passes/step/training_step.py": {"memory", *TIMED},
    "spion_bench/tasks/image/config.toml": IMAGE,
    "spion_bench/tasks/task.py": TASK,
    "baselines/window/longformer.py": {"speed"},
    "baselines/window/unfolded.py": {"speed"},
    "baselines/shared/block_gather.py": {"memory"},
    # Dense attention trains the prefix that SPION continues, and is timed next to the kernels.
    "baselines/dense/sdpa.py": {"dense", "accuracy", "kernel"},
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the sources, on which the plan's hashes are taken."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("spion_bench", "baselines", "csrc", "docs"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "README.md", root)
    patched = pytest.MonkeyPatch()
    patched.setattr(influence, "ROOT", root)
    patched.setattr(influence, "PACKAGE", root / "spion_bench")
    yield root
    patched.undo()
    forget()


def forget():
    for cached in CACHES:
        cached.cache_clear()


def keys():
    forget()
    return {name: make().key for name, make in CELLS.items()}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_changes_the_keys_that_it_can_change(checkout, name):
    before = keys()
    path = checkout / name
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "\n", encoding="utf-8")
    after = keys()
    path.write_text(text, encoding="utf-8")
    assert {cell for cell in before if before[cell] != after[cell]} == EDITS[name]


def test_adding_a_baseline_leaves_every_other_cell_done(checkout):
    before = keys()
    family = checkout / "baselines" / "zz_family"
    family.mkdir()
    (family / "__init__.py").write_text("METHODS = ()\n")
    (family / "attention.py").write_text("import torch\n")
    after = keys()
    shutil.rmtree(family)
    assert after == before


def test_a_gate_and_a_prefix_have_keys_of_their_own_sources(checkout):
    def needed():
        forget()
        group = CellGroup(passes=("accuracy",), task="image", methods=("spion_cf",))
        profile = Profile(name="p", description="", cells=(group,))
        return {c.pass_name: c.key for c in expand(profile, Machine("cpu", threads=2))}

    before = needed()
    path = checkout / "spion_bench" / "passes" / "accuracy.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "\n", encoding="utf-8")
    after = needed()
    path.write_text(text, encoding="utf-8")
    assert [name for name in before if before[name] != after[name]] == ["accuracy"]


def test_every_followed_part_exists():
    for part in influence.FOLLOWED:
        place = ROOT.joinpath(*part.split("."))
        assert place.is_dir() or place.with_suffix(".py").is_file(), part


def test_the_hash_is_taken_once_per_kind_of_cell(monkeypatch):
    calls = []
    real = influence.sources

    def counted(*arguments):
        calls.append(arguments)
        return real(*arguments)

    forget()
    monkeypatch.setattr(influence, "sources", counted)
    seeds = tuple(range(30))
    group = CellGroup(passes=("speed",), task="image", methods=("dense_sdpa",), seeds=seeds)
    expand(Profile(name="p", description="", cells=(group,)), Machine("cpu", threads=2))
    assert len(calls) == 2  # the speed cells, and their gate
    assert keys_module.code_hash is influence.code_hash
    forget()
