"""The command ``compare``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from spion_bench.cli.console import examples, format_option, print_line, write
from spion_bench.compare.commits import find_repository, resolve, worktrees
from spion_bench.compare.sides import Side, SideError, choose_cases
from spion_bench.measure.machine import available_cores, machine_name
from spion_bench.records.names import UsageError

if TYPE_CHECKING:
    from spion_bench.compare.show import Comparison

CASES = (
    *("step/retrieval/spion_cf", "step/image/spion_cf"),
    *("forward/attention_4096", "backward/attention_4096"),
    *("pipeline/attention_4096", "generate_pattern/pattern_4096"),
)
HASH_LENGTH = 10


@click.command(
    epilog=examples(
        "spion-bench compare main HEAD",
        "spion-bench compare HEAD~1 HEAD --cases 'forward/*' --format markdown",
        "spion-bench compare results/local/before results/local/after",
    )
)
@click.argument("base")
@click.argument("head")
@click.option(
    "--cases",
    default=",".join(CASES),
    show_default=True,
    help="What to measure of commits: names or patterns, with commas; '*' is everything.",
)
@format_option("a line per case; markdown: a table that fits a pull request", "markdown")
@click.option("--threads", type=click.IntRange(1), help="CPU threads  [default: all cores]")
def compare(base: str, head: str, cases: str, form: str, threads: int | None) -> None:
    """Say what is slower or faster at HEAD than at BASE: two commits, or two folders of records.

    Commits of this checkout are built and measured side by side in one job, until each case is
    clear or 40 rounds are over; uncommitted changes are not measured. Records are compared only
    where case, device, machine and settings agree. Exit codes: 0, 1 if a case is SLOWER, 2 if
    nothing could be compared, 130 after Ctrl-C.
    """
    try:
        if Path(base).exists() and Path(head).exists():
            result = _compare_folders(base, head)
        else:
            patterns = tuple(cases.split(","))
            result = _compare_commits(base, head, patterns, threads or available_cores())
    except (UsageError, SideError, OSError) as error:
        raise click.UsageError(str(error)) from error
    _show(result, form)
    raise SystemExit(1 if result.is_slower else 0 if result.compared else 2)


def _compare_folders(base: str, head: str) -> Comparison:
    from spion_bench.compare.folders import compare_folders
    from spion_bench.compare.show import Comparison

    found, apart, problems = compare_folders(Path(base), Path(head))
    for problem in problems:
        click.echo(f"warning: {problem}", err=True)
    return Comparison(base, head, {"measured": "in two runs, not in turns"}, found, apart)


def _compare_commits(base: str, head: str, patterns: tuple[str, ...], threads: int) -> Comparison:
    from spion_bench.compare.rounds import measure
    from spion_bench.compare.show import Comparison

    root = find_repository(Path.cwd())
    commits = resolve(root, base), resolve(root, head)
    with worktrees(root, commits) as (before, after):
        ours, theirs = Side("BASE", before), Side("HEAD", after)
        known = theirs.probe(threads)
        chosen = choose_cases(patterns, known["cases"])
        for side in (ours, theirs):
            side.build(threads)
        measured = measure(ours, [theirs], chosen, threads=threads, on_round=_say_round)
    facts = {
        "machine": machine_name(),
        "threads": str(threads),
        "torch": str(known["torch"]),
        "rounds": str(measured.rounds),
        "cases disturbed by other processes": ", ".join(measured.disturbed) or "none",
    }
    before_name, after_name = (
        f"{name} ({commit[:HASH_LENGTH]})"
        for name, commit in zip((base, head), commits, strict=True)
    )
    compared = measured.compare(ours.name, theirs.name)
    return Comparison(before_name, after_name, facts, compared, measured.problems)


def _say_round(number: int, cases: list[str]) -> None:
    print(f"round {number}: {len(cases)} cases ...", file=sys.stderr, flush=True)


def _show(result: Comparison, form: str) -> None:
    if form == "markdown":
        click.echo(result.to_markdown())
        return
    quiet = [f"{row[0]}: {row[1]}" for row in result.rows()]
    quiet += [f"{case}: not compared" for case in result.apart]
    write(form, data=result.as_data(), quiet=quiet, table=lambda console: _print(console, result))


def _print(console: Console, result: Comparison) -> None:
    from spion_bench.compare.show import HEADINGS, NOTE

    table = Table(title=f"{result.head} against {result.base}", title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for row in result.rows():
        table.add_row(*row)
    console.print(table)
    for case, reason in result.apart.items():
        print_line(console, f"not compared: {case}: {reason}")
    print_line(console, result.summary())
    print_line(console, NOTE)
