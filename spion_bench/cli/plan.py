"""The commands ``list`` and ``plan``: what there is, and what would be measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spion_bench.cli.console import (
    Format,
    examples,
    format_option,
    make_console,
    print_line,
    print_list,
    write,
)
from spion_bench.cli.options import planned, selection
from spion_bench.cli.slurm import executor_option, print_parts
from spion_bench.records.cell import KernelCell, TaskCell
from spion_bench.run.expected import Expected, expect
from spion_bench.suite.cases import CASES
from spion_bench.suite.methods import METHODS
from spion_bench.suite.needs import kernel_refusal
from spion_bench.suite.passes import PASSES
from spion_bench.suite.profile import load_profile, profile_names
from spion_bench.tasks import load_config, task_names


@click.command("list", epilog=examples("spion-bench list --format quiet | grep method"))
@format_option("kind and name, a line each")
def list_command(form: Format) -> None:
    """List tasks, methods, passes, profiles and kernel cases."""
    lengths = {name: load_config(name).model.max_length for name in task_names()}
    known = {
        "task": {n: f"{length} tokens" for n, length in lengths.items()},
        "method": {m.name: m.summary for m in METHODS.values()},
        "pass": {name: entry.summary for name, entry in PASSES.items()},
        "profile": {n: load_profile(n).description for n in profile_names()},
        "kernel case": {c.name: c.reason for c in CASES.values()},
    }
    write(
        form,
        data=known,
        quiet=(f"{kind} {name}" for kind, names in known.items() for name in names),
        table=lambda console: _print_known(console, known),
    )


def _print_known(console: Console, known: Mapping[str, dict[str, str]]) -> None:
    plurals = {"pass": "Passes"}
    for kind, names in known.items():
        print_list(console, plurals.get(kind, f"{kind.capitalize()}s"), names)


class _Line(NamedTuple):
    """A cell of a plan: what is to be done, and how long that should take."""

    cell: TaskCell | KernelCell
    state: str
    expected: Expected | None

    def as_data(self) -> dict[str, Any]:
        cell, expected = self.cell, self.expected
        return {
            "key": cell.key,
            "pass": cell.pass_name,
            "label": cell.label,
            "method": cell.method.name,
            "seed": cell.seed,
            "state": self.state,
            "expected_s": expected.seconds if expected else None,
            "expected_from": expected.source if expected else None,
        }


@click.command(epilog=examples("spion-bench plan --profile smoke --pass accuracy --seeds 0"))
@selection
@executor_option
@format_option("the keys of the cells that are to be done")
def plan(*, executor: str, form: Format, **options: Any) -> None:
    """Show which cells `run` would measure, without running anything.

    The time of a cell is the median of earlier runs of such cells in the same --out on this
    machine; where there are none, that of committed records of another machine, which is said.
    """
    cells, store = planned(**options)
    expected = expect(cells, store.records)
    lines = []
    for cell in cells:
        refusal = kernel_refusal(cell)
        state = "to do" if refusal is None else f"unsupported: {refusal}"
        if store.is_done(cell):
            state = "measured"
        lines.append(_Line(cell, state, expected[cell.key] if state == "to do" else None))
    left = [line for line in lines if line.state == "to do"]
    if executor == "slurm":
        print_parts(make_console(), cells, {line.cell.key: line.expected for line in left})
        return
    write(
        form,
        data={
            "cells": [line.as_data() for line in lines],
            "budgets": budgets(cells),
            "expected_s": sum(line.expected.seconds for line in left if line.expected),
            "unknown": sum(line.expected is None for line in left),
        },
        quiet=(line.cell.key for line in left),
        table=lambda console: _print_plan(console, lines, left),
    )


def _print_plan(console: Console, lines: Sequence[_Line], left: Sequence[_Line]) -> None:
    table = Table(title=f"{len(lines)} cells", title_justify="left")
    table.add_column("cell", overflow="fold")
    for name in ("state", "estimated time"):
        table.add_column(name)
    for line in lines:
        shown = ""
        if line.state == "to do":
            shown = "unknown"
            if line.expected is not None:
                mark = "" if line.expected.source == "this machine" else "~"
                shown = f"{mark}{line.expected.seconds:.1f} s"
        table.add_row(line.cell.key, line.state, shown)
    console.print(table)
    for text in budgets([line.cell for line in lines]):
        print_line(console, escape(text))
    known = [line.expected for line in left if line.expected is not None]
    unknown = len(left) - len(known)
    note = f", and {unknown} cells of unknown duration" if unknown else ""
    total = sum(each.seconds for each in known)
    console.print(f"Estimated time left: {total:.0f} s{note}", highlight=False)
    elsewhere = Counter(each.source for each in known if each.source != "this machine")
    if elsewhere:
        parts = [f"{count} cells by {source}" for source, count in elsewhere.items()]
        print_line(
            console,
            f"~ of another machine: {', '.join(parts)}; a similar cell is that of another method",
        )


def budgets(cells: Sequence[TaskCell | KernelCell]) -> list[str]:
    """Return how much each kind of a task's cells may use, one line each."""
    lines = []
    for cell in cells:
        if isinstance(cell, TaskCell) and cell.pass_name in ("accuracy", "speed", "memory"):
            train, measure = cell.resolved().train, cell.resolved().measure
            work = f"at least {measure.rounds} rounds with batches of {measure.batch_size}"
            if cell.pass_name == "accuracy":
                work = f"{train.steps} steps with batches of {train.batch_size}"
            limit = f"at most {cell.timeout_s:g} s a cell"
            lines.append(f"{cell.pass_name} {cell.label}: {work}, {limit}")
    return list(dict.fromkeys(lines))
