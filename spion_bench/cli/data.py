"""The commands ``spion-bench data``: list, fetch, verify, prepare."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from spion_bench.cli.console import examples, is_live, plain_errors, print_line
from spion_bench.records.names import check_name
from spion_bench.tasks import data_sets, prepare_task, task_names
from spion_bench.tasks.registry import readers_of

if TYPE_CHECKING:
    from spion_bench.datasets.data_set import DataSet

BASE_URL_VARIABLE = "SPION_BENCH_DATA_URL"
_STYLES = {"ok": "green", "unproven": "yellow", "missing": "red", "damaged": "red"}
_DATA_DIR = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data"),
    show_default=True,
    help="The data folder; pass the same one to `spion-bench run`.",
)


@click.group()
def data() -> None:
    """Get, check and prepare the data sets of the Long Range Arena."""


@data.command("list")
@_DATA_DIR
def list_command(data_dir: Path) -> None:
    """List all data sets: tasks, files, sizes, addresses, licences, and what is here."""
    from spion_bench.datasets.ledger import read_ledger
    from spion_bench.datasets.verify import state

    console = Console()
    with plain_errors():
        ledger = read_ledger(data_dir)
    for data_set in data_sets().values():
        here = state(data_set, data_dir, ledger)
        print_line(console, f"[bold]{data_set.name}[/]  {escape(here)}")
        for line in _facts(data_set):
            print_line(console, f"  {escape(line)}")
    print_line(
        console, f"State in the data folder {data_dir}. Without these, the tasks use stand-ins"
    )
    print_line(console, "or generate their data; reports always say which.")


def _facts(data_set: DataSet) -> Iterator[str]:
    """Yield what to know about a data set before downloading it."""
    yield f"tasks: {', '.join(readers_of(data_set))}; described at {data_set.page}"
    for file in data_set.files:
        size = f"{file.size} bytes" if file.size else data_set.size_note or "size not published"
        check = file.checksum or "no published checksum: trust on first use"
        yield f"{file.path}: {size}, {check}"
        yield f"  from {file.url}"
    if data_set.unpacking:
        yield f"parts (--part): {', '.join(data_set.unpacking.parts)}"
    yield f"licence: {data_set.licence}"
    if data_set.note:
        yield f"note: {data_set.note}"


@data.command(
    epilog=examples(
        "spion-bench data fetch cifar10 imdb",
        "spion-bench data fetch lra-release --part retrieval --part pathfinder32",
    )
)
@click.argument("names", nargs=-1, required=True)
@_DATA_DIR
@click.option("--part", "parts", multiple=True, help="Unpack only this part (repeatable).")
@click.option(
    "--base-url",
    envvar=BASE_URL_VARIABLE,
    show_envvar=True,
    help="URL of a mirror: a served copy of a data folder.",
)
@click.option("--attempts", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--timeout", type=click.FloatRange(min=0.1), default=30.0, show_default=True)
def fetch(
    names: tuple[str, ...],
    data_dir: Path,
    parts: tuple[str, ...],
    base_url: str | None,
    attempts: int,
    timeout: float,
) -> None:
    """Download the data sets NAMES into the data folder.

    Interrupted downloads are resumed. --attempts limits the attempts in a row that bring
    no new byte, --timeout the seconds without a byte.
    """
    from spion_bench.datasets.data_set import choose_parts
    from spion_bench.datasets.download import Patience
    from spion_bench.datasets.fetch import Fetcher

    with plain_errors(), _bars() as bars:
        plan = [(data_set, choose_parts(data_set, parts)) for data_set in _chosen(names)]
        patience = Patience(attempts=attempts, timeout_s=timeout)
        fetcher = Fetcher(data_dir, bars, base_url, patience)
        for data_set, wanted in plan:
            fetcher.fetch(data_set, wanted)


@data.command()
@click.argument("names", nargs=-1)
@_DATA_DIR
def verify(names: tuple[str, ...], data_dir: Path) -> None:
    """Read the files of the data sets NAMES and compare them with their checksums.

    Without NAMES: everything in the data folder, prepared arrays too. The exit code is 1 if a file
    is damaged, or if a data set that was named is incomplete.
    """
    from spion_bench.datasets.ledger import read_ledger
    from spion_bench.datasets.verify import ABSENT, PARTIAL, state, verify
    from spion_bench.tasks.prepared import verify_all_prepared

    console = Console()
    is_well = True
    with plain_errors():
        ledger = read_ledger(data_dir)
        chosen = _chosen(names)
        if not names:
            known = data_sets().values()
            chosen = [s for s in known if state(s, data_dir, ledger) not in (ABSENT, PARTIAL)]
        findings = [finding for data_set in chosen for finding in verify(data_set, data_dir)]
        findings += [] if names else verify_all_prepared(data_dir)
        for finding in findings:
            is_well = is_well and finding.verdict in ("ok", "unproven")
            verdict = f"[{_STYLES[finding.verdict]}]{finding.verdict:>8}[/]"
            print_line(console, f"{verdict}  {escape(f'{finding.path}: {finding.detail}')}")
    if not findings:
        print_line(console, f"Nothing to verify in {data_dir}.")
    raise SystemExit(0 if is_well else 1)


@data.command(
    epilog=examples(
        "spion-bench data prepare listops",
        "spion-bench data prepare listops -o n_train=10000 -o seed=1",
        "spion-bench data prepare --profile smoke",
    )
)
@click.argument("task", type=click.Choice(task_names()), required=False)
@_DATA_DIR
@click.option("-o", "--option", "options", multiple=True, help="An option of TASK: NAME=VALUE.")
@click.option("--profile", help="Prepare all data of this profile: a name, or a .toml file.")
def prepare(
    task: str | None, data_dir: Path, options: tuple[str, ...], profile: str | None
) -> None:
    """Write the examples of TASK as arrays that later runs map into memory.

    A run with the same --data-dir and the same task options uses them; the data and its fingerprint
    are the same as without.
    """
    if (task is None) == (profile is None) or (profile and options):
        raise click.UsageError("expected either TASK, with or without -o, or --profile")
    console = Console()
    wanted = [(task, dict(_parse(options)))] if task else _requests(profile or "")
    for name, chosen in wanted:
        with plain_errors():
            prepared, folder = prepare_task(name, data_dir, chosen)
        splits = {"train": prepared.train, "dev": prepared.dev, "test": prepared.test}
        sizes = ", ".join(f"{len(split)} {part}" for part, split in splits.items())
        print_line(console, f"{name}: {sizes}, {prepared.length} tokens")
        print_line(console, f"  {prepared.source.name}: {escape(prepared.source.description)}")
        print_line(console, f"  written to {folder}")


def _chosen(names: Iterable[str]) -> list[DataSet]:
    """Return the data sets called ``names``."""
    known = data_sets()
    return [known[check_name("data set", name, known)] for name in names]


def _requests(profile: str) -> list[tuple[str, dict[str, Any]]]:
    """Return each task with the options that a profile asks for, once."""
    from spion_bench.suite.profile import load_profile

    with plain_errors():
        groups = load_profile(profile).cells
    requests: list[tuple[str, dict[str, Any]]] = []
    for group in groups:
        if group.task and (group.task, group.options) not in requests:
            requests.append((group.task, group.options))
    return requests


def _parse(options: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each option; a value that is not JSON is a string."""
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise click.UsageError(f"--option: expected NAME=VALUE, got {option!r}")
        try:
            yield name, json.loads(value)
        except json.JSONDecodeError:
            yield name, value


@dataclass
class _Bars:
    """Shows downloads as progress bars; in a pipe, only what is finished."""

    progress_bars: Progress
    tasks: dict[str, TaskID] = field(default_factory=dict)

    def say(self, text: str) -> None:
        print_line(self.progress_bars.console, escape(text))

    def progress(self, what: str, done: int, total: int | None) -> None:
        if what not in self.tasks:
            self.tasks[what] = self.progress_bars.add_task(escape(what), total=total)
        self.progress_bars.update(self.tasks[what], completed=done, total=total)


@contextmanager
def _bars() -> Iterator[_Bars]:
    console = Console()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not is_live(console),
    ) as progress:
        yield _Bars(progress)
