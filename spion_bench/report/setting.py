"""Settings: what must be equal before two numbers may be compared, and what a reader calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from spion_bench.records import KernelCell, TaskCell


@dataclass(frozen=True, order=True)
class Setting:
    """What must be equal before two numbers may be compared: same data, run, code and machine.

    ``ways`` are the task's settings that are one word, such as its recipe, and how many processes
    train together; or that none are known.
    """

    task: str
    length: int
    source: str
    device: str
    threads: int
    precision: str
    ways: tuple[str, ...]
    profile: str
    machine: str
    version: str
    file: str


def precision_of(cell: TaskCell | KernelCell) -> str:
    """Return in what a cell multiplies, by the name that its setting has."""
    if isinstance(cell, KernelCell):
        return "tf32" if cell.tf32 else cell.dtype
    return cell.dtype if cell.settings is None else cell.settings.precision


def ways_of(cell: TaskCell | KernelCell) -> tuple[str, ...]:
    """Return the ``ways`` of a cell's setting."""
    if isinstance(cell, TaskCell) and cell.settings is None:
        return ("settings not recorded",)  # by schema 1
    words = dict(cell.settings) if isinstance(cell, TaskCell) and cell.settings else {}
    # The precision has a field of its own, and what is not compiled is as it always was.
    told = {"precision": words.get("precision"), "compile": "none"}
    ways = {name: value for name, value in words.items() if isinstance(value, str)}
    found = tuple(f"{name} {value}" for name, value in ways.items() if told.get(name) != value)
    processes = cell.processes if isinstance(cell, TaskCell) else 1
    return (*found, f"{processes} processes") if processes > 1 else found


def label_settings(settings: Iterable[Setting]) -> dict[Setting, str]:
    """Name each setting by task and length, and by anything else in which two differ."""
    ordered = sorted(settings, key=lambda setting: (not setting.task, setting))
    extras: tuple[Callable[[Setting], str], ...] = (
        lambda s: s.source,
        lambda s: s.device,
        lambda s: f"{s.threads} thread{'s' if s.threads > 1 else ''}",
        lambda s: s.precision,
        lambda s: ", ".join(s.ways),
        lambda s: f"profile {s.profile}",
        lambda s: s.machine,
        lambda s: s.version,
        lambda s: s.file,
    )
    needed = [extra for extra in extras if _differs(extra, ordered)]
    labels = {s: [_base_label(s), *(extra(s) for extra in needed)] for s in ordered}
    return {s: ", ".join(part for part in parts if part) for s, parts in labels.items()}


def _base_label(setting: Setting) -> str:
    name = setting.task or "random input"
    return f"{name}, L\u00a0=\u00a0{setting.length}" if setting.length else name


def _differs(extra: Callable[[Setting], str], settings: list[Setting]) -> bool:
    seen: dict[str, set[str]] = {}
    for setting in settings:
        seen.setdefault(_base_label(setting), set()).add(extra(setting))
    return any(len(values) > 1 for values in seen.values())
