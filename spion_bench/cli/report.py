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
    help="Folder of the report.  [default: reports/<name of the profile or of RECORDS_DIR>]",
)


@click.command(epilog=examples("spion-bench report results/local/smoke"))
@click.argument("records_dir", type=click.Path(path_type=Path, exists=True))
@REPORT_DIR
def report(records_dir: Path, report_dir: Path | None) -> None:
    """Write the report of the records below RECORDS_DIR."""
    write_report(make_console(), records_dir, report_dir or Path("reports") / records_dir.name)


def write_report(console: Console, records_dir: Path, report_dir: Path) -> None:
    """Write a report and say where it is."""
    from spion_bench.report.render import render_report

    with plain_errors("the report was not written: "):
        paths = render_report(records_dir, report_dir)
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
