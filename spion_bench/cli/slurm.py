"""A plan on a cluster: its jobs, what they should take, and handing them over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from spion_bench.cli.console import plain_errors, print_line
from spion_bench.cli.stores.merge import merge_folders
from spion_bench.records import Record, latest_by_cell
from spion_bench.records.cell import KernelCell, TaskCell
from spion_bench.records.store import Store
from spion_bench.run.executors.parts import Part, parts_of
from spion_bench.run.expected import Expected
from spion_bench.suite.plan import most_processes

if TYPE_CHECKING:
    from spion_bench.run.executors.slurm import Submitted

_SHARED = {
    "profile": "--profile",
    "methods": "--method",
    "precision": "--precision",
    "device": "--device",
    "processes_per_cell": "--processes-per-cell",
    "data_dir": "--data-dir",
}
_PATHS = ("data_dir",)

executor_option = click.option(
    "--executor",
    type=click.Choice(["local", "slurm"]),
    default="local",
    show_default=True,
    help="Where cells run: here, or as jobs of a Slurm cluster (needs the extra slurm).",
)
settings_option = click.option(
    "--slurm",
    "slurm_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="TOML file of what jobs ask for: docs/scale.md.",
)


def folder_of(store: Store) -> Path:
    """Return where the parts of a run have their folders: beside its own, which reports read."""
    return store.out.resolve().with_name(f"{store.out.resolve().name}-parts")


def shared_options(options: Mapping[str, Any], threads: int) -> tuple[str, ...]:
    """Return the options that every part's ``run`` gets, as a shell would."""
    words = ["--threads", str(threads)]
    for name, flag in _SHARED.items():
        value = options[name]
        if name == "profile" and value.endswith(".toml"):
            value = str(Path(value).resolve())
        if name in _PATHS and value is not None:
            value = str(value.resolve())
        for each in value if isinstance(value, tuple) else [value]:
            words += [flag, str(each)] if each is not None else []
    return tuple(words)


def print_parts(
    console: Console,
    cells: Sequence[TaskCell | KernelCell],
    expected: Mapping[str, Expected | None],
) -> None:
    """Print the jobs of a plan with the hours that earlier records make likely."""
    parts = parts_of(cells)
    what = "GPU hours" if cells[0].device == "cuda" else "hours"
    table = Table(title=f"{len(parts)} jobs", title_justify="left")
    for name in ("job", "cells", f"estimated {what}", "runs"):
        table.add_column(name)
    for part in parts:
        when = "alone on a node, after the others" if part.is_timed else "side by side"
        table.add_row(part.name, str(len(part.cells)), _hours(part, expected), when)
    console.print(table)
    known = [each.seconds for each in expected.values() if each is not None]
    hours = f"{sum(known) / 3600:.1f} {what} for {len(known)} of {len(expected)} cells to do"
    print_line(console, f"Estimated by earlier records: {hours}; of others nothing is known.")
    print_line(console, "`spion-bench run` with the same options submits them.")


def _hours(part: Part, expected: Mapping[str, Expected | None]) -> str:
    mine = [expected[cell.key] for cell in part.cells if cell.key in expected]
    known = [each.seconds for each in mine if each is not None]
    unknown = f", {len(mine) - len(known)} cells unknown" if len(known) < len(mine) else ""
    return f"{sum(known) / 3600:.2f}{unknown}" if known else f"unknown ({len(mine)} cells)"


def run_on_cluster(
    console: Console,
    cells: Sequence[TaskCell | KernelCell],
    store: Store,
    options: Mapping[str, Any],
    slurm_file: Path | None,
) -> list[Submitted]:
    """Hand the parts of a plan to the cluster, and say how to collect what they measure."""
    from spion_bench.run.executors.slurm import read_settings, submit

    folder, threads, processes = folder_of(store), cells[0].threads, most_processes(cells)
    with plain_errors():
        submitted = submit(
            parts_of(cells),
            shared_options(options, threads),
            folder,
            read_settings(slurm_file),
            threads=threads * processes,
            gpus=processes if cells[0].device == "cuda" else 0,
        )
    for each in submitted:
        print_line(console, escape(f"{each.part.name}: job {each.job.job_id}, log {each.log}"))
    print_line(console, "When jobs have ended, or at any time before, collect what there is:")
    print_line(console, escape(f"  spion-bench merge {folder} --out {store.out}"))
    print_line(console, escape(f"  spion-bench report {store.out}"))
    print_line(console, "The same command submits again what was lost; what is stored stays.")
    return submitted


def await_and_collect(
    console: Console, submitted: Sequence[Submitted], store: Store
) -> list[Record]:
    """Wait for jobs, merge what they measured into the run's folder, and return its records."""
    from spion_bench.run.executors.slurm import wait

    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("jobs", total=len(submitted))
        wait(submitted, lambda left: progress.update(bar, completed=len(submitted) - left))
    with plain_errors():
        merge_folders(console, [folder_of(store)], store.out)
    return list(latest_by_cell(Store(store.out).records).values())
