"""The command ``run``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from spion_bench.cli.console import (
    INTERRUPTED,
    Format,
    examples,
    format_option,
    plain_errors,
    print_line,
    progress_console,
    write,
)
from spion_bench.cli.options import planned, selection
from spion_bench.cli.report import REPORT_DIR, write_report
from spion_bench.cli.slurm import (
    await_and_collect,
    executor_option,
    run_on_cluster,
    settings_option,
)
from spion_bench.records.cell import KernelCell, TaskCell
from spion_bench.records.store import BusyError, Store
from spion_bench.run.expected import expect
from spion_bench.suite.passes import PASSES
from spion_bench.suite.plan import most_processes

if TYPE_CHECKING:
    from spion_bench.records import Environment, Record


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
    help="How many untimed cells run side by side, with --threads cores and a GPU each, or for "
    "each of their processes.",
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
    side, on cores and GPUs that no two share; what is timed still runs alone. With
    --processes-per-cell, each prefix and accuracy cell is trained by several processes.

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
    processes = most_processes(cells)
    if workers * processes > 1:
        with plain_errors():
            gpus = gpus_of_one_model() if cells[0].device == "cuda" else None
            where = places(workers, cells[0].threads, gpus, processes=processes)
    try:
        with store.locked(), interrupt_on_sigterm():
            environment = environment_of(cells[0])
            with showing(console, seconds, lanes) as display, WarmConductor() as conductor:
                executor = SideBySide(where) if workers > 1 else OneByOne(conductor)
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
