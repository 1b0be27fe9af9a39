"""The options that choose cells, which ``plan`` and ``run`` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import click

from spion_bench.cli.console import plain_errors
from spion_bench.literals import Precision
from spion_bench.measure.machine import available_cores, machine_name
from spion_bench.records.cell import KernelCell, TaskCell
from spion_bench.records.names import UsageError
from spion_bench.records.store import Store
from spion_bench.suite.plan import Filters, Machine, expand
from spion_bench.suite.profile import load_profile


def _seeds(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Return the seeds of a text like ``0,1,2`` or ``0-4``."""
    if value is None:
        return ()
    try:
        ranges = [[int(end) for end in part.split("-")] for part in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"expected seeds like 0,1,2 or 0-4, got {value!r}") from None
    return tuple(seed for ends in ranges for seed in range(ends[0], ends[-1] + 1))


def selection(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose cells."""
    options = (
        click.option(
            "--profile",
            default="smoke",
            show_default=True,
            help="Name of a profile, or a .toml file.",
        ),
        click.option("--task", "tasks", multiple=True, help="Only this task (repeatable)."),
        click.option("--method", "methods", multiple=True, help="Only this method (repeatable)."),
        click.option("--pass", "passes", multiple=True, help="Only this pass (repeatable)."),
        click.option("--seeds", callback=_seeds, help="Only these seeds: 0,1,2 or 0-4."),
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
    data_dir: Path | None,
    out: Path | None,
) -> tuple[list[TaskCell | KernelCell], Store]:
    """Return the chosen cells and the store of their results."""
    try:
        chosen = load_profile(profile)
        cores = threads or available_cores()
        machine = Machine(device, cores, data_dir, _machine_name(device), precision)
        cells = expand(chosen, machine, Filters(tasks, methods, seeds, passes))
    except UsageError as error:
        raise click.UsageError(str(error)) from error
    if not cells:
        raise click.UsageError(f"no cell of profile {chosen.name} matches the options given")
    with plain_errors():
        store = Store(out or Path("results/local") / chosen.name)
    for problem in store.problems:
        click.echo(f"warning: {problem}", err=True)
    return cells, store
