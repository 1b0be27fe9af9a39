"""The command ``spion-bench``.

Exit codes: 0 if every chosen cell is ok or unsupported, 1 if some cell failed, a comparison found
something slower or a record does not reproduce, 2 for wrong usage, 130 after Ctrl-C. Heavy modules
are imported by the commands that need them, so help and usage errors appear at once.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import click

from spion_bench import __version__
from spion_bench.cli.compare import compare
from spion_bench.cli.console import INTERRUPTED, examples
from spion_bench.cli.data import data
from spion_bench.cli.doctor import doctor
from spion_bench.cli.export import export
from spion_bench.cli.model import model
from spion_bench.cli.plan import list_command, plan
from spion_bench.cli.report import claims, report
from spion_bench.cli.run import run
from spion_bench.cli.stores.merge import merge
from spion_bench.cli.stores.migrate import migrate
from spion_bench.cli.stores.verify import verify


class _Group(click.Group):
    """Ends with 130 after Ctrl-C: click's own 1 also means that something failed or is slower."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\nStopped.", err=True)
            raise SystemExit(INTERRUPTED) from None


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "spion-bench run                   the smoke profile: a real result in minutes",
        "spion-bench plan --profile smoke  what it would run, and how long that took before",
        "spion-bench doctor --build        what this machine can do",
    ),
)
@click.version_option(__version__, prog_name="spion-bench")
def main() -> None:
    """Benchmark and reproduce SPION: layer-wise sparse training of Transformers."""
    # A pipe to a worker would take the number of a standard stream that the caller has closed.
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # of a locale that may lack quotes and dashes
            stream.reconfigure(errors="backslashreplace")


COMMANDS = (
    *(list_command, plan, run, compare, verify, report, claims),
    *(export, merge, migrate, doctor, data, model),
)
for command in COMMANDS:
    main.add_command(command)
