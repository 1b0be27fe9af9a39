"""The options that choose cells, which ``plan`` and ``run`` share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, get_args

import click
from click.shell_completion import CompletionItem

from spion_bench.cli.console import plain_errors
from spion_bench.literals import Precision
from spion_bench.measure.machine import available_cores, machine_name
from spion_bench.records.cell import KernelCell, TaskCell
from spion_bench.records.names import UsageError
from spion_bench.records.store import Store
from spion_bench.suite.methods import METHODS
from spion_bench.suite.passes import PASSES
from spion_bench.suite.plan import Machine, expand
from spion_bench.suite.profile import load_profile, profile_names
from spion_bench.suite.profiles.ask import Filters, ask
from spion_bench.tasks import task_names

MOST_SEEDS = 1000
_SEEDS = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def _seeds(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Return the seeds of a text like ``0,1,2`` or ``0-4``."""
    if value is None:
        return ()
    parts = [_SEEDS.fullmatch(part.strip()) for part in value.split(",")]
    ranges = [(int(part[1]), int(part[2] or part[1])) for part in parts if part is not None]
    if len(ranges) < len(parts) or any(first > last for first, last in ranges):
        raise click.BadParameter(f"expected seeds like 0,1,2 or 0-4, got {value!r}")
    if sum(last - first + 1 for first, last in ranges) > MOST_SEEDS:
        raise click.BadParameter(f"expected at most {MOST_SEEDS} seeds, got {value!r}")
    return tuple(sorted({seed for first, last in ranges for seed in range(first, last + 1)}))


Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completes(known: Callable[[], Mapping[str, str]]) -> Completer:
    """Return what a shell offers for an option: names that begin so, with what they are."""

    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [
            CompletionItem(name, help=text)
            for name, text in known().items()
            if name.startswith(incomplete)
        ]

    return complete


def _complete_profile(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the suite's profiles, and files, which the shell finds by itself."""
    profiles = _completes(
        lambda: {name: load_profile(name).description for name in profile_names()}
    )
    return [*profiles(ctx, param, incomplete), CompletionItem(incomplete, type="file")]


def selection(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose cells."""
    options = (
        click.option(
            "--profile",
            default="smoke",
            show_default=True,
            shell_complete=_complete_profile,
            help="Name of a profile, or a .toml file.",
        ),
        click.option(
            "--task",
            "tasks",
            multiple=True,
            shell_complete=_completes(lambda: dict.fromkeys(task_names(), "")),
            help="Only this task (repeatable).",
        ),
        click.option(
            "--method",
            "methods",
            multiple=True,
            shell_complete=_completes(lambda: {m.name: m.summary for m in METHODS.values()}),
            help="Only this method (repeatable); one that the profile does not list is added.",
        ),
        click.option(
            "--pass",
            "passes",
            multiple=True,
            shell_complete=_completes(lambda: {n: p.summary for n, p in PASSES.items()}),
            help="Only this pass (repeatable); one that the profile does not have is added.",
        ),
        click.option("--seeds", callback=_seeds, help="Seeds to use instead: 0,1,2 or 0-4."),
        click.option(
            "--precision",
            type=click.Choice(get_args(Precision)),
            help="In what models multiply; tf32 needs cuda.  [default: as the profile says]",
        ),
        click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu"),
        click.option(
            "--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all cores]"
        ),
        click.option(
            "--processes-per-cell",
            type=click.IntRange(min=1),
            help="How many processes train a cell together, with --threads cores and a GPU each, "
            "on equal parts of every batch.  [default: 1]",
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


def _machine_name(device: str) -> str:
    """Return what tells this machine from others that may share a folder of results."""
    if device == "cpu":
        return machine_name()
    from spion_bench.measure.environment import probe_gpu  # imports torch

    gpu = probe_gpu()
    return f"{machine_name()}, {'no GPU' if gpu is None else gpu.name}"


def planned(
    *,
    profile: str,
    tasks: tuple[str, ...],
    methods: tuple[str, ...],
    passes: tuple[str, ...],
    seeds: tuple[int, ...],
    precision: Precision | None,
    device: Literal["cpu", "cuda"],
    threads: int | None,
    processes_per_cell: int | None,
    data_dir: Path | None,
    out: Path | None,
) -> tuple[list[TaskCell | KernelCell], Store]:
    """Return the chosen cells and the store of their results."""
    try:
        chosen = load_profile(profile)
        processes = processes_per_cell or 1
        cores = threads or max(1, available_cores() // processes)
        machine = Machine(device, cores, data_dir, _machine_name(device), precision, processes)
        filters = Filters(tasks, methods, seeds, passes)
        cells = expand(chosen, machine, filters)
        notes = ask(chosen, filters).notes
    except UsageError as error:
        raise click.UsageError(str(error)) from error
    if not cells:
        raise click.UsageError(f"no cell of profile {chosen.name} matches the options given")
    with plain_errors():
        store = Store(out or Path("results/local") / chosen.name)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    for problem in store.problems:
        click.echo(f"warning: {problem}", err=True)
    return cells, store
