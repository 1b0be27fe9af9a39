"""The command ``merge``: folders that several hosts wrote, in one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from spion_bench.cli.console import examples, make_console, plain_errors, print_line
from spion_bench.records.store import BusyError, Store, open_stores


@click.command(
    epilog=examples(
        "spion-bench run --profile paper --seeds 0 --out results/local/paper/first    on one host",
        "spion-bench run --profile paper --seeds 1 --out results/local/paper/second   on another",
        "spion-bench merge results/local/paper --out results/local/paper-merged",
    )
)
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to add to; what it holds already stays.",
)
@plain_errors()
def merge(folders: tuple[Path, ...], out: Path) -> None:
    """Merge the records and artifacts at or below FOLDERS by cell into one folder.

    Let each host write to a folder of its own, so hosts need no lock in common. FOLDERS are not
    changed, and may still grow: the same command adds what is new. Cells of different classes of
    machines stay apart, as their keys do; CPUs of one name but different vector instructions, which
    keys do not tell apart, are refused.

    Of different records of a cell one is kept, whatever the order of FOLDERS: methods that were
    timed in one turn stay together; a turn without failures comes before one with failures, and
    then the one that ended later. Artifacts are copied only with the recorded sha256.

    Exit codes: 0, 1 if an artifact is missing or damaged in every folder.
    """
    raise SystemExit(0 if merge_folders(make_console(), folders, out) else 1)


def merge_folders(console: Console, folders: Sequence[Path], out: Path) -> bool:
    """Merge folders, print what came of it, and return whether every artifact was found whole."""
    from spion_bench.run.merge import merge as merge_stores

    sources = [store for store in open_stores(*folders) if store.out.resolve() != out.resolve()]
    target = Store(out)
    try:
        with target.locked():
            target = Store(out)  # as it is now that nothing else writes
            merged = merge_stores(sources, target)
    except BusyError as error:
        raise click.ClickException(str(error)) from error
    for problem in [problem for store in [*sources, target] for problem in store.problems]:
        click.echo(f"warning: {problem}", err=True)
    for sentence in (*merged.conflicts, *merged.problems):
        print_line(console, escape(sentence))
    print_line(
        console,
        f"{escape(str(out))}: {merged.n_records} records and {merged.n_artifacts} artifacts added "
        f"from {len(sources)} folders; {len(merged.conflicts)} cells had different records",
    )
    for machine, n_cells in sorted(merged.machines.items()):
        print_line(console, f"  {n_cells} cells of {escape(machine or 'an unknown machine')}")
    return not merged.problems
