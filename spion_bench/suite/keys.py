"""The keys of cells: a readable prefix, and a hash of all that can change a cell's numbers.

What it asks, the sources that can change it (``influence``), and the versions of libraries: after
an edit, or with another torch, a cell is measured again.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

from spion_bench.records import KernelCell, TaskCell
from spion_bench.suite.influence import code_hash
from spion_bench.suite.passes import PASSES
from spion_bench.tasks import load_config

# Facts about a method that tables show and no number depends on.
_SHOWN = {"family", "role", "base", "summary", "native", "devices", "origins"}
_UNHASHED = {
    *("key", "profile", "label", "method", "timeout_s", "turn", "gate"),
    *("sweeps", "tasks", "precision", "factor"),
}

_CellT = TypeVar("_CellT", TaskCell, KernelCell, TaskCell | KernelCell)


def code_of(cell: TaskCell | KernelCell) -> str:
    """Return the hash of the sources that can change a cell's numbers."""
    modules = (PASSES[cell.pass_name].session, cell.method.factory)
    roots = tuple(name.partition(":")[0] for name in modules if name)
    task = cell.task if isinstance(cell, TaskCell) else None
    return code_hash(roots, task, cell.device)


def with_code(cell: _CellT) -> _CellT:
    """Return the cell with the hash of its sources."""
    return cell.model_copy(update={"code": code_of(cell)})


def with_key(cell: _CellT) -> _CellT:
    """Return the cell with its key: what it asks, its sources, and the versions of libraries."""
    what = cell.model_dump(mode="json", exclude=_UNHASHED)
    what["method"] = cell.method.model_dump(mode="json", exclude=_SHOWN)
    if what.get("processes") == 1:
        del what["processes"]  # keys from before several could train together stay valid
    if (settings := what.get("settings")) and settings["compile"] == "none":
        del settings["compile"]  # keys from before encoders could be compiled stay valid
    if isinstance(cell, TaskCell) and settings and not _reads_spion(cell):
        settings["spion"] = load_config(cell.task).spion.model_dump(mode="json")
    what["versions"] = _versions(cell.method.requires)
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]
    prefix = f"{cell.pass_name}-{cell.label}-{cell.method.name}-s{cell.seed}"
    return cell.model_copy(update={"key": f"{prefix}-{digest}"})


def _reads_spion(cell: TaskCell) -> bool:
    """Return whether SPION's settings can change a number: else what it takes is an argument."""
    return cell.method.variant is not None or cell.pass_name == "prefix"


@cache
def _versions(packages: tuple[str, ...]) -> list[str | None]:
    return [_version(package) for package in ("torch", "numpy", *packages)]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
