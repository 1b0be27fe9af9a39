"""The command ``spion-bench migrate``: records of schema 1, written as records of schema 2."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click

from spion_bench.cli.console import RECORDS, examples
from spion_bench.records.files import replace_file
from spion_bench.records.schema import Record
from spion_bench.records.schema1 import Schema1Reader
from spion_bench.records.store import BusyError, Store, record_files

BACKUP_SUFFIX = ".schema1"
"""Suffix of a backup; reports do not read such files."""


@dataclass(frozen=True)
class _Migrated:
    """One records file, converted.

    Attributes:
        file: The file.
        before: Its content.
        after: Its content in schema 2.
        n_converted: How many lines were of schema 1.
        n_lines: How many records it has.
    """

    file: Path
    before: bytes
    after: bytes
    n_converted: int
    n_lines: int

    @property
    def backup(self) -> Path:
        return self.file.with_name(self.file.name + BACKUP_SUFFIX)


@click.command(
    epilog=examples(
        "spion-bench migrate results/local/speed",
        "spion-bench migrate results/local --out results/migrated",
    )
)
@RECORDS
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A new folder to write to, with the artifacts.  [default: in place, with a backup]",
)
def migrate(records: Path, out: Path | None) -> None:
    """Convert RECORDS, a file or a folder, to the current schema.

    In place, every file that has records of schema 1 is kept as <name>.schema1. All files are
    converted before any is written; a line that is not a record stops the command.
    """
    try:
        if not (files := record_files(records)):
            raise ValueError(f"{records} holds no records file (*.jsonl)")
        with ExitStack() as stack:
            if out is None:
                for folder in dict.fromkeys(file.parent for file in files):
                    stack.enter_context(Store(folder).locked())
            migrated = [_convert(file) for file in files]
            if out is None:
                _write_in_place(migrated)
            else:
                _write_to(out, migrated, records if records.is_dir() else records.parent)
    except (BusyError, OSError, ValueError) as error:
        raise click.ClickException(f"nothing was migrated: {error}") from error
    for found in migrated:
        kept = f"; the old file is {found.backup.name}" if out is None and found.n_converted else ""
        click.echo(f"{found.file}: {found.n_converted} of {found.n_lines} lines converted{kept}")


def _convert(file: Path) -> _Migrated:
    """Convert a file in memory.

    Raises:
        ValueError: If a line is not a record, with every such line.
    """
    before = file.read_bytes()
    lines = before.split(b"\n")
    reader = Schema1Reader(lines)
    written: list[bytes] = []
    problems: list[str] = []
    n_converted = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = reader.read(line)
            if record is None:
                Record.model_validate_json(line)
                written.append(line)
                continue
            text = record.model_dump_json()
            if Record.model_validate_json(text).model_dump_json() != text:
                raise ValueError("it would not survive writing and reading")
            written.append(text.encode())
            n_converted += 1
        except (ValueError, RecursionError) as error:
            problems.append(f"{file}:{number}: {str(error).splitlines()[0]}")
    if problems:
        raise ValueError(f"remove the lines that are not records first: {'; '.join(problems)}")
    after = b"".join(line + b"\n" for line in written)
    return _Migrated(file, before, after, n_converted, len(written))


def _write_in_place(migrated: list[_Migrated]) -> None:
    changed = [found for found in migrated if found.n_converted]
    for found in changed:
        if found.backup.exists():
            raise FileExistsError(f"{found.backup}: a backup already exists; move it away first")
    done: list[_Migrated] = []
    try:
        for found in changed:
            replace_file(found.backup, found.before)
            done.append(found)
            replace_file(found.file, found.after)
    except OSError:
        for found in done:
            replace_file(found.file, found.before)
            found.backup.unlink()
        raise


def _write_to(out: Path, migrated: list[_Migrated], root: Path) -> None:
    """Write a new folder under another name first, so it appears whole or not at all."""
    part = out.with_name(f"{out.name}.part")
    if out.exists():
        raise FileExistsError(f"{out}: already exists; choose a new folder")
    if part.exists():
        raise FileExistsError(f"{part}: left by an interrupted migration; delete it first")
    try:
        for found in migrated:
            target = part / found.file.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(found.after)
            artifacts = found.file.parent / "artifacts"
            if artifacts.is_dir():
                shutil.copytree(artifacts, target.parent / "artifacts", dirs_exist_ok=True)
        part.rename(out)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        raise
