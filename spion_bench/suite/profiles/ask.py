"""What a user asks of a profile by name: parts of it, and methods and passes that it lacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import get_args

from spion_bench.records import KernelCell, TaskCell
from spion_bench.records.names import UsageError, check_name
from spion_bench.suite.cases import find_case
from spion_bench.suite.implementations import IMPLEMENTATIONS
from spion_bench.suite.methods import METHODS
from spion_bench.suite.passes import PASSES, find_pass
from spion_bench.suite.profile import (
    CellGroup,
    Profile,
    RunnablePass,
    load_profile,
    profile_names,
)
from spion_bench.tasks import task_names

ADDABLE_PASSES = tuple(name for name in get_args(RunnablePass) if name != "kernel")
"""Passes that any method on any task may be asked for."""


@dataclass(frozen=True)
class Filters:
    """Which cells of a profile to keep; an empty filter keeps all. Seeds replace the profile's."""

    tasks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    passes: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise UsageError, with the nearest known name, if a name is unknown."""
        for name in self.tasks:
            check_name("task", name, task_names())
        for name in self.methods:
            check_name("method", name, METHODS.keys() | IMPLEMENTATIONS.keys())
        for name in self.passes:
            find_pass(name)

    def keeps(self, cell: TaskCell | KernelCell) -> bool:
        """Return whether ``cell`` passes every filter."""
        return (
            (not self.tasks or (isinstance(cell, TaskCell) and cell.task in self.tasks))
            and (not self.methods or cell.method.name in self.methods)
            and (not self.passes or cell.pass_name in self.passes)
        )


@dataclass(frozen=True)
class Asked:
    """What was asked for.

    Attributes:
        groups: The profile's groups, with what was named and is not in them.
        notes: A sentence for everything that was added.
    """

    groups: tuple[CellGroup, ...]
    notes: tuple[str, ...]


def ask(profile: Profile, filters: Filters) -> Asked:
    """Return the groups of a profile with the methods and passes that were named added to them.

    A method that no group of a task lists joins all groups of that task, with their settings; a
    pass that none of them has joins the first. Without a task, that happens only to what the
    profile has for no task at all.

    Raises:
        UsageError: If the profile has no settings for what was named, with the profiles that have.
    """
    for task in filters.tasks:
        _need(profile, f"task {task}", partial(_is_about, task))
    for name in filters.methods:
        if name not in METHODS:
            _need(profile, f"implementation {name}", partial(_runs, name))
    if "kernel" in filters.passes:
        _need(profile, "pass kernel", lambda group: bool(group.cases))
    groups, notes = list(profile.cells), []
    scopes = [{task} for task in filters.tasks] or [{g.task for g in groups if g.task}]
    passes = [name for name in filters.passes if name in ADDABLE_PASSES]
    for scope in scopes:
        places = [i for i, group in enumerate(groups) if group.task in scope]
        notes += _add_passes(profile, groups, places, passes)
        wanted = [
            i
            for i in places
            if not filters.passes or any(_gives(groups[i], name) for name in passes)
        ]
        methods = [name for name in filters.methods if name in METHODS]
        notes += _add_methods(profile, groups, wanted, methods)
    if filters.seeds:
        groups = [group.model_copy(update={"seeds": filters.seeds}) for group in groups]
    return Asked(tuple(groups), tuple(notes))


def _add_passes(
    profile: Profile, groups: list[CellGroup], places: list[int], names: list[str]
) -> list[str]:
    """Give the first of some groups the passes that none of them has."""
    notes = []
    for name in names:
        able = [i for i in places if groups[i].compile == "none" or PASSES[name].compiles]
        if able and not any(_gives(groups[i], name) for i in places):
            first = groups[able[0]]
            groups[able[0]] = first.model_copy(update={"passes": (*first.passes, name)})
            notes.append(_note(profile, f"pass {name}", first))
    return notes


def _add_methods(
    profile: Profile, groups: list[CellGroup], places: list[int], names: list[str]
) -> list[str]:
    """Give some groups the methods that none of them lists."""
    notes = []
    for name in names:
        if places and not any(name in groups[i].methods for i in places):
            for i in places:
                methods = (*groups[i].methods, name)
                groups[i] = groups[i].model_copy(update={"methods": methods})
            notes.append(_note(profile, f"method {name}", *(groups[i] for i in places)))
    return notes


def _gives(group: CellGroup, name: str) -> bool:
    """Return whether a group has cells of a pass; gates come with what does not check itself."""
    entries = [PASSES[each] for each in group.passes]
    needs_gate = any(entry.gated and not entry.checks_itself for entry in entries)
    return name in group.passes or (name == "gate" and needs_gate)


def _is_about(task: str, group: CellGroup) -> bool:
    return group.task == task


def _runs(implementation: str, group: CellGroup) -> bool:
    return any(implementation in find_case(case).implementations for case in group.cases)


def _note(profile: Profile, what: str, *groups: CellGroup) -> str:
    tasks = ", ".join(dict.fromkeys(group.task or "" for group in groups))
    return f"{what} is not in profile {profile.name}; it has the profile's settings of {tasks}"


def _need(profile: Profile, what: str, holds: Callable[[CellGroup], bool]) -> None:
    if any(map(holds, profile.cells)):
        return
    others = [name for name in profile_names() if any(map(holds, load_profile(name).cells))]
    found = f"these profiles have: {', '.join(others)}" if others else "no profile has"
    raise UsageError(f"profile {profile.name} has no cell of {what}; {found}")
