"""Which sources can change a cell's numbers, and the hash of their text.

A cell's key holds this hash, and an edit invalidates a cell only if it can change what the cell
measures: its pass, its method's module, its task's folder, what these import, and the kernels of
its device. Code that shows, stores, plans or models is not followed, nor is any other method or
task.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
ROOT = PACKAGE.parent

# Imports are followed into these only. What is named by a string, as methods and tasks are, is not
# an import: a cell names its own.
_PARTS = (
    *("block_lists", "block_pattern", "kernel_limits", "literals", "native", "ops", "pattern"),
    *("model", "train", "measure", "passes", "tasks", "suite.budget"),
    *("asv_suite.cases", "asv_suite.inputs", "records.settings", "records.statistics"),
)
FOLLOWED = ("baselines", *(f"spion_bench.{part}" for part in _PARTS))
KERNELS = {"cpu": ("*", "common/*", "cpu/**/*"), "cuda": ("*", "common/*", "cuda/**/*")}
KERNEL_SUFFIXES = {".cpp", ".h", ".cu", ".cuh"}


@cache
def code_hash(roots: tuple[str, ...], task: str | None, device: str) -> str:
    """Return a hash of every source that can change the numbers of a cell.

    Args:
        roots: Dotted names of the modules that the cell names: its pass's and its method's.
        task: Name of its task, or None.
        device: ``"cpu"`` or ``"cuda"``.
    """
    digest = hashlib.sha256()
    for path in sources(roots, task, device):
        digest.update(f"{_place(path)}\0".encode())
        digest.update(_content(path))
    return digest.hexdigest()[:16]


def sources(roots: Iterable[str], task: str | None, device: str) -> list[Path]:
    """Return the files that ``code_hash`` reads, sorted by where they lie."""
    own: list[Path] = []
    if task is not None:
        folder = PACKAGE / "tasks" / task
        own = [path for path in folder.rglob("*") if path.suffix in (".py", ".toml")]
    modules = [*roots, *(_dotted(path) for path in own if path.suffix == ".py")]
    found = {*own, *_kernels(device)}.union(*map(_closure, modules))
    return sorted(found, key=_place)


@cache
def _closure(module: str) -> frozenset[Path]:
    """Return the files of a module and of all that it imports, as far as it is followed."""
    waiting, seen = [module], set[Path]()
    while waiting:
        path = _file(waiting.pop())
        if path is not None and path not in seen:
            seen.add(path)
            waiting += _imports(path)
    return frozenset(seen)


def _is_followed(module: str) -> bool:
    return any(module == part or module.startswith(f"{part}.") for part in FOLLOWED)


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """Return every module that a file imports, wherever in the file, and that is followed."""
    found: list[str] = []
    for node in ast.walk(ast.parse(_content(path))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(name for name in dict.fromkeys(found) if _is_followed(name))


@cache
def _file(module: str) -> Path | None:
    """Return a module's file, or None for what is no module: a name within one, a library."""
    top, _, rest = module.partition(".")
    if top not in ("spion_bench", "baselines"):
        return None
    base = (PACKAGE if top == "spion_bench" else ROOT / top).joinpath(*rest.split("."))
    found = (base.with_suffix(".py"), base / "__init__.py")
    # The __init__ of a family of baselines lists its methods; their arguments are in the key.
    return next((p for p in found if p.is_file() and not _lists_methods(p)), None)


def _lists_methods(path: Path) -> bool:
    return path.name == "__init__.py" and path.parent.parent == ROOT / "baselines"


@cache
def _kernels(device: str) -> tuple[Path, ...]:
    folder = next((f for f in (PACKAGE / "csrc", ROOT / "csrc") if f.is_dir()), ROOT / "csrc")
    found = {path for pattern in KERNELS[device] for path in folder.glob(pattern)}
    return tuple(path for path in sorted(found) if path.suffix in KERNEL_SUFFIXES)


@cache
def _content(path: Path) -> bytes:
    return path.read_bytes()


@cache
def _place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
