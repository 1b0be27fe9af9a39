"""The command ``doctor``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from spion_bench.cli.console import make_console, print_line

STYLES = {"ok": "green", "limited": "yellow", "missing": "red"}


@click.command()
@click.option("--build", is_flag=True, help="Build and load the CPU kernels.")
@click.option("--data-dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
def doctor(*, build: bool, data_dir: Path | None) -> None:
    """Check what this machine can run and how to get the rest.

    The exit code is 1 if something that `run` needs is missing.
    """
    from spion_bench.cli.examine import examine

    console = make_console()
    is_fit = True
    for finding in examine(build=build, data_dir=data_dir):
        is_fit = is_fit and finding.verdict != "missing"
        style = STYLES[finding.verdict]
        line = f"[{style}]{finding.verdict:>7}[/]  {finding.what}: {escape(finding.detail)}"
        print_line(console, line)
        if finding.remedy:
            print_line(console, f"{'':9}-> {escape(finding.remedy)}")
    raise SystemExit(0 if is_fit else 1)
