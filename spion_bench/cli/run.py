"""The commands ``list``, ``plan`` and ``run``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spion_bench.cli.console import (
    INTERRUPTED,
    Format,
    examples,
    format_option,
    make_console,
    plain_errors,
    print_line,
    print_list,
    progress_console,
    write,
)
from spion_bench.cli.options import planned, selection
from spion_bench.cli.report import REPORT_DIR, write_report
from spion_bench.cli.slurm import (
    await_and_collect,
    executor_option,
    print_parts,
    run_on_cluster,
    settings_option,
)
from spion_bench.records.cell import KernelCell, TaskCell
from spion_bench.records.store import BusyError, Store
from spion_bench.run.expected import Expected, expect
from spion_bench.suite.cases import CASES
from spion_bench.suite.methods import METHODS
from spion_bench.suite.needs import kernel_refusal
from spion_bench.suite.passes import PASSES
from spion_bench.suite.profile import load_profile, profile_names
from spion_bench.tasks import load_config, task_names

if TYPE_CHECKING:
    from spion_bench.records import Environment, Record


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


@click.command(
    epilog=examples(
        "spion-bench run",
        "spion-bench run --profile smoke --method spion_cf --pass speed --threads 2",
        "spion-bench run --profile my_profile.toml --out results/local/mine",
        "spion-bench run --profile smoke --workers 4 --threads 2   on 8 cores or more",
    )
)
@selection
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many untimed cells run side by side, with --threads cores and a GPU each.",
)
@executor_option
@settings_option
@click.option("--wait", is_flag=True, help="With --executor slurm: wait, collect, and report.")
@click.option("--fresh", is_flag=True, help="Measure every cell again, even finished ones.")
@click.option("--no-report", is_flag=True, help="Do not write the report.")
@REPORT_DIR
@format_option("a line per cell, at the end")
def run(
    *,
    workers: int,
    executor: str,
    slurm_file: Path | None,
    wait: bool,
    fresh: bool,
    no_report: bool,
    report_dir: Path | None,
    form: Format,
    **options: Any,
) -> None:
    """Measure a profile's cells, store one record each, and write the report.

    Cells with a good record are not measured again; failed ones are. Ctrl-C is safe at any time:
    the same command continues where it stopped. On a terminal bars show cell, phase and the time
    that is left; elsewhere each event is a line, training steps and rounds at most every 10 s.
    With --format json these lines go to standard error.

    With --workers, cells that are not timed (gate, steps, shortcuts, prefix, accuracy) run side by
    side, on cores and GPUs that no two share; what is timed still runs alone.

    With --executor slurm, each task and seed is a job, and what is timed has a node for itself.
    Each writes a folder below <out>-parts; `spion-bench merge` collects them.
    """
    cells, store = planned(**options)
    from spion_bench.cli.summary import exit_code, print_summary, summary_data, verdict, worth

    console = progress_console(form)
    if executor == "slurm":
        submitted = run_on_cluster(console, cells, store, options, slurm_file)
        if wait:
            records = await_and_collect(console, submitted, store)
            if not no_report:
                write_report(console, [store.out], report_dir or Path("reports") / cells[0].profile)
            raise SystemExit(exit_code(records))
        return
    records = _measure(cells, store, console, workers=workers, fresh=fresh)
    found = worth(store.out, records)
    data = {**summary_data(records, found), "records": str(store.records_file)}
    write(
        form,
        data=data,
        quiet=(f"{record.key}: {verdict(record, found.get(record.key))}" for record in records),
        table=lambda console: print_summary(console, records, found),
    )
    print_line(console, f"Records: {store.records_file}")
    if not no_report:
        write_report(console, [store.out], report_dir or Path("reports") / cells[0].profile)
    raise SystemExit(exit_code(records))


def _measure(
    cells: Sequence[TaskCell | KernelCell],
    store: Store,
    console: Console,
    *,
    workers: int,
    fresh: bool,
) -> list[Record]:
    from spion_bench.cli.display import showing
    from spion_bench.run.conduct import WarmConductor
    from spion_bench.run.executors.executor import OneByOne
    from spion_bench.run.executors.places import gpus_of_one_model, places
    from spion_bench.run.executors.side_by_side import SideBySide
    from spion_bench.run.interrupts import interrupt_on_sigterm
    from spion_bench.run.runner import Runner, pending_turns

    pending = [cell for turn in pending_turns(cells, store, fresh=fresh) for cell in turn]
    expected = expect(pending, store.records)
    seconds = {key: each.seconds if each else None for key, each in expected.items()}
    lanes = {cell.key: workers for cell in pending if PASSES[cell.pass_name].side_by_side}
    where = []
    if workers > 1:
        with plain_errors():
            gpus = gpus_of_one_model() if cells[0].device == "cuda" else None
            where = places(workers, cells[0].threads, gpus)
    try:
        with store.locked(), interrupt_on_sigterm():
            environment = environment_of(cells[0])
            with showing(console, seconds, lanes) as display, WarmConductor() as conductor:
                executor = SideBySide(where) if where else OneByOne(conductor)
                return Runner(store, environment, display, fresh, executor).run(cells)
    except KeyboardInterrupt:
        console.print(
            "\nStopped. Finished cells are stored; the same command (without --fresh) continues."
        )
        raise SystemExit(INTERRUPTED) from None
    except (BusyError, OSError) as error:
        raise click.ClickException(str(error)) from error


def environment_of(cell: TaskCell | KernelCell) -> Environment:
    """Build or load the kernels and describe the machine."""
    from spion_bench.measure.environment import capture
    from spion_bench.native.library import BuildError

    try:
        return capture(threads=cell.threads, device=cell.device)
    except BuildError as error:
        raise click.ClickException(str(error)) from error
