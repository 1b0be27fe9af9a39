"""The command ``doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape

from spion_bench.cli.console import (
    Format,
    format_option,
    make_console,
    plain_errors,
    print_line,
    write,
)

if TYPE_CHECKING:
    from spion_bench.cli.examine import Finding

STYLES = {"ok": "green", "limited": "yellow", "missing": "red"}


@click.command()
@click.option("--build", is_flag=True, help="Build and load the CPU kernels.")
@click.option("--data-dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--clean-cache", is_flag=True, help="Remove all built kernels; nothing else.")
@format_option("a line for each thing that is limited or missing")
def doctor(*, build: bool, data_dir: Path | None, clean_cache: bool, form: Format) -> None:
    """Check what this machine can run and how to get the rest.

    The exit code is 1 if something that `run` needs is missing.
    """
    if clean_cache:
        if build:
            raise click.UsageError("--clean-cache removes what --build builds; choose one of them")
        _clean_cache(make_console())
        return
    from spion_bench.cli.examine import examine

    # A table shows each finding when it is there: building the kernels takes a minute.
    findings = []
    for finding in examine(build=build, data_dir=data_dir):
        findings.append(finding)
        if form == "table":
            _print(make_console(), finding)
    is_fit = all(finding.verdict != "missing" for finding in findings)
    write(
        form,
        data={"fit": is_fit, "findings": findings},
        quiet=(f"{f.verdict}: {f.what}: {f.detail}" for f in findings if f.verdict != "ok"),
        table=lambda console: None,
    )
    raise SystemExit(0 if is_fit else 1)


def _print(console: Console, finding: Finding) -> None:
    style = STYLES[finding.verdict]
    line = f"[{style}]{finding.verdict:>7}[/]  {finding.what}: {escape(finding.detail)}"
    print_line(console, line)
    if finding.remedy:
        print_line(console, f"{'':9}-> {escape(finding.remedy)}")


def _clean_cache(console: Console) -> None:
    from spion_bench.native.cache import cache_root, clean
    from spion_bench.native.error import BuildError

    try:
        root = cache_root()
    except BuildError as error:
        raise click.ClickException(str(error)) from error
    total = 0
    with plain_errors():
        for path, size in clean(root):
            total += size
            print_line(console, f"removed {escape(str(path))}")
    print_line(console, f"{total / 1e6:.0f} MB removed from {escape(str(root))}")
