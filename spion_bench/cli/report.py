"""The command ``report``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from spion_bench.cli.console import examples, make_console, plain_errors, print_line

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
