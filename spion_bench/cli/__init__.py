"""The command ``spion-bench``: list, plan, run, report, doctor, data.

Exit codes: 0 if every cell that was asked for is ok or honestly unsupported, 1 if some cell
failed, 2 for wrong usage, 130 after Ctrl-C. Heavy modules are imported by the commands that need
them, so that help and wrong usage answer at once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spion_bench import __version__
from spion_bench.cli.data import data
from spion_bench.cli.model import model
from spion_bench.measure.machine import available_cores
from spion_bench.records.names import UsageError
from spion_bench.records.store import BusyError, Store
from spion_bench.run.interrupts import interrupt_on_sigterm
from spion_bench.suite.cases import CASES
from spion_bench.suite.methods import METHODS
from spion_bench.suite.plan import Cell, Filters, Machine, estimate_seconds, expand
from spion_bench.suite.profile import PASSES, load_profile, profile_names
from spion_bench.tasks import load_config, task_names

if TYPE_CHECKING:
    from spion_bench.records import Environment, Record

INTERRUPTED = 130
PIPE_WIDTH = 140  # no table should be folded in a log file
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
VERDICT_STYLES = {"ok": "green", "limited": "yellow", "missing": "red"}


def _examples(*lines: str) -> str:
    """Return the end of a help text; the backspace keeps click from folding the lines."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


class _Seeds(click.ParamType[tuple[int, ...]]):
    """Seeds as ``0,1,2`` or ``0-4``."""

    name = "seeds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            ranges = [[int(end) for end in part.split("-")] for part in value.split(",")]
        except ValueError:
            self.fail(f"expected seeds like 0,1,2 or 0-4, got {value!r}", param, ctx)
        return tuple(seed for ends in ranges for seed in range(ends[0], ends[-1] + 1))


def _selection(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose cells."""
    options = (
        click.option(
            "--profile", default="smoke", show_default=True, help="Name, or a .toml file."
        ),
        click.option("--task", "tasks", multiple=True, help="Only this task (repeatable)."),
        click.option("--method", "methods", multiple=True, help="Only this method (repeatable)."),
        click.option("--pass", "passes", multiple=True, help="Only this pass (repeatable)."),
        click.option("--seeds", type=_Seeds(), default=(), help="Only these: 0,1,2 or 0-4."),
        click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu"),
        click.option(
            "--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all cores]"
        ),
        click.option(
            "--data-dir",
            type=click.Path(path_type=Path, exists=True, file_okay=False),
            help="Folder with downloaded data sets; `spion-bench doctor` says which.",
        ),
        click.option(
            "--out",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder of the results.  [default: results/local/<profile>]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(
    context_settings=CONTEXT,
    epilog=_examples(
        "spion-bench run                   the smoke profile: a true result in minutes",
        "spion-bench plan --profile smoke  what it would run, and how long that took before",
        "spion-bench doctor --build        what this machine can do",
    ),
)
@click.version_option(__version__, prog_name="spion-bench")
def main() -> None:
    """Benchmark and reproduce SPION: layer-wise sparse training of Transformers."""


main.add_command(data)
main.add_command(model)


@main.command("list")
def list_command() -> None:
    """List tasks, methods, passes, profiles and kernel cases."""
    console = _console()
    lengths = {name: load_config(name).model.max_length for name in task_names()}
    _print_list(console, "Tasks", {n: f"{length} tokens" for n, length in lengths.items()})
    _print_list(console, "Methods", {m.name: m.summary for m in METHODS.values()})
    _print_list(console, "Passes", {str(name): text for name, text in PASSES.items()})
    _print_list(console, "Profiles", {n: load_profile(n).description for n in profile_names()})
    _print_list(console, "Kernel cases", {c.name: c.reason for c in CASES.values()})


@main.command(epilog=_examples("spion-bench plan --profile smoke --pass accuracy --seeds 0"))
@_selection
def plan(**options: Any) -> None:
    """Show which cells `run` would measure, without running anything.

    The time of a cell is the median of earlier runs of such cells in the same --out.
    """
    cells, store = _planned(**options)
    console = _console()
    table = Table(title=f"{len(cells)} cells", title_justify="left")
    table.add_column("cell", overflow="fold")
    for name in ("state", "estimated time"):
        table.add_column(name)
    estimates = []
    for cell in cells:
        done = store.is_done(cell)
        estimate = 0.0 if done else estimate_seconds(cell, store.records)
        estimates.append(estimate)
        told = "unknown" if estimate is None else "" if done else f"{estimate:.1f} s"
        table.add_row(cell.key, "measured" if done else "to do", told)
    console.print(table)
    known = [estimate for estimate in estimates if estimate is not None]
    unknown = len(estimates) - len(known)
    note = f", and {unknown} cells of unknown duration" if unknown else ""
    console.print(f"Estimated time to go: {sum(known):.0f} s{note}", highlight=False)


@main.command(
    epilog=_examples(
        "spion-bench run",
        "spion-bench run --profile smoke --method spion_cf --pass speed --threads 2",
        "spion-bench run --profile my_profile.toml --out results/local/mine",
    )
)
@_selection
@click.option("--fresh", is_flag=True, help="Measure everything again, also what is done.")
@click.option("--no-report", is_flag=True, help="Do not write the report.")
@click.option(
    "--report-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the report.  [default: reports/<profile>]",
)
def run(*, fresh: bool, no_report: bool, report_dir: Path | None, **options: Any) -> None:
    """Measure a profile's cells, store one record each, and write the report.

    Cells that have a good record are not measured again; failed ones are. Ctrl-C is safe at any
    time: the same command goes on where it was stopped.
    """
    cells, store = _planned(**options)
    console = _console()
    from spion_bench.cli.display import exit_code, print_summary

    records = _measure(cells, store, console, fresh=fresh)
    print_summary(console, records)
    console.print(f"Records: {store.records_file}", soft_wrap=True, highlight=False)
    if not no_report:
        _write_report(console, store.out, report_dir or Path("reports") / cells[0].profile)
    raise SystemExit(exit_code(records))


@main.command(epilog=_examples("spion-bench report results/local/smoke"))
@click.argument("records_dir", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--report-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the report.  [default: reports/<name of RECORDS_DIR>]",
)
def report(records_dir: Path, report_dir: Path | None) -> None:
    """Write the report of the records below RECORDS_DIR."""
    _write_report(_console(), records_dir, report_dir or Path("reports") / records_dir.name)


@main.command()
@click.option("--build", is_flag=True, help="Build and load the CPU kernels.")
@click.option("--data-dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
def doctor(*, build: bool, data_dir: Path | None) -> None:
    """Say what this machine can do and how to get the rest.

    The exit code is 1 if something is missing that `run` cannot do without.
    """
    from spion_bench.cli.examine import examine

    console = _console()
    is_fit = True
    for finding in examine(build=build, data_dir=data_dir):
        is_fit = is_fit and finding.verdict != "missing"
        style = VERDICT_STYLES[finding.verdict]
        line = f"[{style}]{finding.verdict:>7}[/]  {finding.what}: {escape(finding.detail)}"
        console.print(line, soft_wrap=True, highlight=False)
        if finding.remedy:
            console.print(f"{'':9}-> {escape(finding.remedy)}", soft_wrap=True, highlight=False)
    raise SystemExit(0 if is_fit else 1)


def _planned(
    *,
    profile: str,
    tasks: tuple[str, ...],
    methods: tuple[str, ...],
    passes: tuple[str, ...],
    seeds: tuple[int, ...],
    device: str,
    threads: int | None,
    data_dir: Path | None,
    out: Path | None,
) -> tuple[list[Cell], Store]:
    """Return the chosen cells and the store of their results."""
    try:
        chosen = load_profile(profile)
        machine = Machine(device, threads or available_cores(), data_dir)
        cells = expand(chosen, machine, Filters(tasks, methods, seeds, passes))
    except UsageError as error:
        raise click.UsageError(str(error)) from error
    if not cells:
        raise click.UsageError(f"no cell of profile {chosen.name} is left by the options given")
    store = Store(out or Path("results/local") / chosen.name)
    for problem in store.problems:
        click.echo(f"warning: {problem}", err=True)
    return cells, store


def _measure(cells: list[Cell], store: Store, console: Console, *, fresh: bool) -> list[Record]:
    from spion_bench.cli.display import showing
    from spion_bench.run.conduct import WarmConductor
    from spion_bench.run.runner import Runner

    try:
        with store.locked(), interrupt_on_sigterm():
            environment = _environment(cells[0])
            with showing(console) as display, WarmConductor() as conductor:
                return Runner(store, environment, display, fresh, conductor).run(cells)
    except KeyboardInterrupt:
        console.print(
            "\nStopped. Finished cells are stored; the same command (without --fresh) goes on."
        )
        raise SystemExit(INTERRUPTED) from None
    except (BusyError, OSError) as error:
        raise click.ClickException(str(error)) from error


def _environment(cell: Cell) -> Environment:
    """Build or load the kernels and describe the machine."""
    from spion_bench.measure.environment import capture
    from spion_bench.native.library import BuildError

    try:
        return capture(threads=cell.threads, device=cell.device)
    except BuildError as error:
        raise click.ClickException(str(error)) from error


def _write_report(console: Console, records_dir: Path, report_dir: Path) -> None:
    from spion_bench.report.render import render_report

    try:
        paths = render_report(records_dir, report_dir)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"the report was not written: {error}") from error
    console.print(f"Report: {paths.html}", soft_wrap=True, highlight=False)


def _print_list(console: Console, title: str, entries: dict[str, str]) -> None:
    console.print(f"[bold]{title}[/]")
    width = max(len(name) for name in entries)
    for name, text in entries.items():
        console.print(f"  {name:<{width}}  {escape(text)}", soft_wrap=True, highlight=False)


def _console() -> Console:
    console = Console()
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console
