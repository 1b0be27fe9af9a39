"""The commands ``report`` and ``claims``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from spion_bench.cli.console import (
    Format,
    examples,
    format_option,
    make_console,
    plain_errors,
    print_line,
    write,
)

if TYPE_CHECKING:
    from spion_bench.report.claims.verdict import Judgement

REPORT_DIR = click.option(
    "--report-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the report.  [default: reports/<name of the profile or of RECORDS>]",
)


@click.command(
    epilog=examples(
        "spion-bench report results/local/smoke",
        "spion-bench report results/local/laptop results/local/workstation",
        "spion-bench report results/local/before results/local/after --report-dir reports/change",
    )
)
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@REPORT_DIR
def report(records: tuple[Path, ...], report_dir: Path | None) -> None:
    """Write the report of the RECORDS below a folder, or of two or three folders side by side.

    Several folders (machines, or commits) are compared: A, B and C in the order given, each number
    in a column per folder, with ratios and differences over A where the case, the type of device
    and the settings agree; otherwise the report says why not. Machines are told apart by CPU model
    and instruction set, or GPU; a folder of several machines becomes several columns, and nothing
    is pooled. To have two commits measured in turns, use `spion-bench compare`.
    """
    default = Path("reports") / "-".join(dict.fromkeys(folder.resolve().name for folder in records))
    write_report(make_console(), records, report_dir or default)


def write_report(console: Console, records: Sequence[Path], report_dir: Path) -> None:
    """Write a report, a comparison if there are several folders, and say where it is."""
    from spion_bench.report.render import render_comparison, render_report

    with plain_errors("the report was not written: "):
        if len(records) == 1:
            paths = render_report(records[0], report_dir)
        else:
            paths = render_comparison(records, report_dir)
    print_line(console, f"Report: {paths.html}")


@click.command(
    epilog=examples(
        "spion-bench claims results/local/speed",
        "spion-bench claims results/records/*/speed --format json",
    )
)
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@format_option("a line per claim")
def claims(records: tuple[Path, ...], form: Format) -> None:
    """Say which published claims about SPION the RECORDS reproduce, and why.

    Claims and rules stand in results/claims.toml. A claim about a GPU has a second line, its CPU
    form, where records of a CPU have something to say. Several folders are judged together.
    """
    from spion_bench.report.claims.table import as_data, judgements
    from spion_bench.report.load import load_records

    with plain_errors("the claims were not judged: "):
        runs = [load_records(folder) for folder in records]
        found = judgements(runs)
    for problem in [problem for run in runs for problem in run.problems]:
        click.echo(f"warning: {problem}", err=True)
    write(
        form,
        data=[as_data(judgement) for judgement in found],
        quiet=(_short(judgement) for judgement in found),
        table=lambda console: console.print(_table(found)),
    )


def _short(judgement: Judgement) -> str:
    form_of = f" ({judgement.form})" if judgement.form else ""
    return f"{judgement.claim.id}{form_of}: {judgement.verdict}"


def _table(found: Sequence[Judgement]) -> Table:
    table = Table("Claim", "Verdict", "Why", show_lines=True)
    for judgement in found:
        what = f"{judgement.title} ({judgement.claim.source})"
        table.add_row(what, judgement.verdict, judgement.reason)
    return table
