"""The parts of a plan that machines of a cluster run: each with a folder of its own.

What is not timed is cut by task and seed, so a part trains a shared dense prefix and all that
continues it. What is timed is a part for each task: its methods take turns on one machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spion_bench.records import CellBase, TaskCell
from spion_bench.suite.passes import PASSES

_BROUGHT = ("gate", "prefix")  # cells that others bring with them


@dataclass(frozen=True)
class Part:
    """Cells that one job measures.

    Attributes:
        name: Its folder and what the cluster shows.
        filters: Options of ``spion-bench run`` that choose its cells.
        is_timed: Whether its cells are timed, so nothing else may run on their machine.
        cells: What it measures on a machine like this one.
    """

    name: str
    filters: tuple[str, ...]
    is_timed: bool
    cells: tuple[CellBase, ...]

    def commands(
        self, options: Sequence[str], folder: Path, *, takes_over: bool
    ) -> tuple[tuple[str, ...], ...]:
        """Return what its job runs, as arguments of ``spion-bench``.

        Args:
            options: Options of ``run`` that all parts share.
            folder: Where the parts' folders are.
            takes_over: Whether it first merges what others left there: patterns are timed as they
                were learned.
        """
        out = ("--out", str(folder / self.name))
        measure = ("run", *options, *self.filters, *out, "--no-report")
        return (("merge", str(folder), *out), measure) if takes_over else (measure,)


def parts_of(cells: Sequence[CellBase]) -> list[Part]:
    """Return the parts of a plan, those that are not timed first."""
    found: dict[tuple[bool, str, int | None], list[CellBase]] = {}
    for cell in cells:
        entry = PASSES[cell.pass_name]
        of_seed = entry.side_by_side and cell.pass_name != "shortcuts"
        place = (not entry.side_by_side, _task(cell), cell.seed if of_seed else None)
        found.setdefault(place, []).append(cell)
    gated = {_task(cell) for cell in cells if cell.pass_name not in _BROUGHT}
    parts = [
        _part(*place, those)
        for place, those in found.items()
        if place[1] not in gated or any(cell.pass_name not in _BROUGHT for cell in those)
    ]
    return sorted(parts, key=lambda part: part.is_timed)


def _part(is_timed: bool, task: str, seed: int | None, cells: list[CellBase]) -> Part:
    asked = list(dict.fromkeys(cell.pass_name for cell in cells))
    passes = [name for name in asked if name not in _BROUGHT] or ["gate"]
    filters = [*(("--task", task) if task else ()), *(w for p in passes for w in ("--pass", p))]
    if seed is not None:
        filters += ["--seeds", str(seed)]
    words = [task or "kernels", *(passes if seed is None else [f"seed{seed}"])]
    return Part("-".join(words), tuple(filters), is_timed, tuple(cells))


def _task(cell: CellBase) -> str:
    return cell.task if isinstance(cell, TaskCell) else ""
