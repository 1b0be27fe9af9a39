"""What every command prints with: the console, help examples, and errors that users can act on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import click
from pydantic_core import to_json
from rich.console import Console
from rich.markup import escape

from spion_bench.records.names import UsageError

RECORDS = click.argument("records", type=click.Path(path_type=Path, exists=True))
INTERRUPTED = 130

Format = Literal["table", "json", "quiet"]


def format_option(quiet: str, *others: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option ``--format``, for a command that shows one thing in several forms.

    Args:
        quiet: What the form ``quiet`` prints, for the help.
        others: Forms that only this command has.
    """
    return click.option(
        "--format",
        "form",
        type=click.Choice(["table", "json", "quiet", *others]),
        default="table",
        show_default=True,
        help=f"What to print; json: everything, for a program; quiet: {quiet}.",
    )


def write(
    form: str, *, data: Any, quiet: Iterable[str], table: Callable[[Console], object]
) -> None:
    """Print one thing in the form that was asked for.

    Args:
        form: One of ``Format``.
        data: What ``json`` prints: dictionaries, lists, dataclasses, models; NaN becomes text.
        quiet: The lines of ``quiet``.
        table: Prints the form for people.
    """
    if form == "json":
        click.echo(to_json(data, indent=2, inf_nan_mode="strings"))
    elif form == "quiet":
        for line in quiet:
            click.echo(line)
    else:
        table(make_console())


PIPE_WIDTH = 140  # no table should be folded in a log file


def make_console() -> Console:
    """Return the console of standard output."""
    console = Console()
    if not is_live(console):
        console.width = PIPE_WIDTH
    return console


def progress_console(form: str) -> Console:
    """Return where progress goes: aside where the output is for a program, nowhere if quiet."""
    if form == "table":
        return make_console()
    return Console(stderr=True, width=PIPE_WIDTH, quiet=form == "quiet", force_terminal=False)


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
