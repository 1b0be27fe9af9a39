"""What every command prints with: the console, help examples, and errors that users can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from spion_bench.records.names import UsageError

RECORDS = click.argument("records", type=click.Path(path_type=Path, exists=True))
INTERRUPTED = 130
PIPE_WIDTH = 140  # no table should be folded in a log file


def make_console() -> Console:
    """Return the console of standard output."""
    console = Console()
    if not is_live(console):
        console.width = PIPE_WIDTH
    return console


def is_live(console: Console) -> bool:
    """Return whether lines can be drawn again: on a terminal, whatever FORCE_COLOR says of colours.

    A closed standard output is no terminal.
    """
    return console.is_terminal and not console.file.closed and console.file.isatty()


def print_line(console: Console, markup: str) -> None:
    """Print one line without folding or colouring it."""
    console.print(markup, soft_wrap=True, highlight=False)


def print_list(console: Console, title: str, entries: dict[str, str]) -> None:
    """Print a heading, then a line per entry."""
    console.print(f"[bold]{title}[/]")
    width = max(len(name) for name in entries)
    for name, text in entries.items():
        print_line(console, f"  {name:<{width}}  {escape(text)}")


def examples(*lines: str) -> str:
    """Return the end of a help text; the backspace keeps click from folding the lines."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


@contextmanager
def plain_errors(what: str = "") -> Iterator[None]:
    """Turn errors that a user can act on into one clear message, which ``what`` may begin."""
    try:
        yield
    except UsageError as error:
        raise click.UsageError(str(error)) from error
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{what}{error}") from error
