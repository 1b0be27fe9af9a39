"""The commands ``list``, ``plan`` and ``run``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spion_bench.cli.console import INTERRUPTED, examples, make_console, print_line, print_list
from spion_bench.cli.options import planned, selection
from spion_bench.cli.report import REPORT_DIR, write_report
from spion_bench.records.cell import KernelCell, TaskCell
from spion_bench.records.store import BusyError, Store
from spion_bench.suite.cases import CASES
from spion_bench.suite.methods import METHODS
from spion_bench.suite.needs import kernel_refusal
from spion_bench.suite.passes import PASSES
from spion_bench.suite.plan import estimate_seconds
from spion_bench.suite.profile import load_profile, profile_names
from spion_bench.tasks import load_config, task_names

if TYPE_CHECKING:
    from spion_bench.records import Environment, Record


@click.command("list")
def list_command() -> None:
    """List tasks, methods, passes, profiles and kernel cases."""
    console = make_console()
    lengths = {name: load_config(name).model.max_length for name in task_names()}
    print_list(console, "Tasks", {n: f"{length} tokens" for n, length in lengths.items()})
    print_list(console, "Methods", {m.name: m.summary for m in METHODS.values()})
    print_list(console, "Passes", {name: entry.summary for name, entry in PASSES.items()})
    print_list(console, "Profiles", {n: load_profile(n).description for n in profile_names()})
    print_list(console, "Kernel cases", {c.name: c.reason for c in CASES.values()})


@click.command(epilog=examples("spion-bench plan --profile smoke --pass accuracy --seeds 0"))
@selection
def plan(**options: Any) -> None:
    """Show which cells `run` would measure, without running anything.

    The time of a cell is the median of earlier runs of similar cells in the same --out.
    """
    cells, store = planned(**options)
    console = make_console()
    table = Table(title=f"{len(cells)} cells", title_justify="left")
    table.add_column("cell", overflow="fold")
    for name in ("state", "estimated time"):
        table.add_column(name)
    estimates = []
    for cell in cells:
        refusal = kernel_refusal(cell)
        state = "to do" if refusal is None else f"unsupported: {refusal}"
        if store.is_done(cell):
            state = "measured"
        estimate = estimate_seconds(cell, store.records) if state == "to do" else 0.0
        estimates.append(estimate)
        shown = "unknown" if estimate is None else f"{estimate:.1f} s" if state == "to do" else ""
        table.add_row(cell.key, state, shown)
    console.print(table)
    for line in budgets(cells):
        print_line(console, escape(line))
    known = [estimate for estimate in estimates if estimate is not None]
    unknown = len(estimates) - len(known)
    note = f", and {unknown} cells of unknown duration" if unknown else ""
    console.print(f"Estimated time left: {sum(known):.0f} s{note}", highlight=False)


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
    )
)
@selection
@click.option("--fresh", is_flag=True, help="Measure every cell again, even finished ones.")
@click.option("--no-report", is_flag=True, help="Do not write the report.")
@REPORT_DIR
def run(*, fresh: bool, no_report: bool, report_dir: Path | None, **options: Any) -> None:
    """Measure a profile's cells, store one record each, and write the report.

    Cells with a good record are not measured again; failed ones are. Ctrl-C is safe at any time:
    the same command continues where it stopped.
    """
    cells, store = planned(**options)
    console = make_console()
    from spion_bench.cli.summary import exit_code, print_summary

    records = _measure(cells, store, console, fresh=fresh)
    print_summary(console, records)
    print_line(console, f"Records: {store.records_file}")
    if not no_report:
        write_report(console, store.out, report_dir or Path("reports") / cells[0].profile)
    raise SystemExit(exit_code(records))


def _measure(
    cells: Sequence[TaskCell | KernelCell], store: Store, console: Console, *, fresh: bool
) -> list[Record]:
    from spion_bench.cli.display import showing
    from spion_bench.run.conduct import WarmConductor
    from spion_bench.run.interrupts import interrupt_on_sigterm
    from spion_bench.run.runner import Runner

    try:
        with store.locked(), interrupt_on_sigterm():
            environment = environment_of(cells[0])
            with showing(console) as display, WarmConductor() as conductor:
                return Runner(store, environment, display, fresh, conductor).run(cells)
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
