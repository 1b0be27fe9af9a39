"""Numbers that others published: ``results/published/*.csv``, never measured here.

One line per cell of a published table, in the form in which it was printed. A cell that was not
printed, or that could not be read, is a line without a value and with the reason.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

HEADER = ("source", "table", "model", "task", "metric", "value", "unit", "note")
UNITS = ("%", "h", "GB", "ratio", "x", "")


@dataclass(frozen=True)
class PublishedNumber:
    """One cell of a published table.

    Attributes:
        source: Public name of the paper or repository.
        table: Which table of it.
        model: As the source calls it; abbreviations are written out.
        task: Name of the task here, ``"path-x"``, ``"average"``, or ``""`` if none is named.
        metric: E.g. ``"accuracy"``.
        value: As printed; ``""`` if there is none.
        unit: ``%``, ``h``, ``GB``, ``ratio`` or ``x`` (times); ``""`` without a number.
        note: Conditions, or why there is no value.
        file: Name of the CSV file.
    """

    source: str
    table: str
    model: str
    task: str
    metric: str
    value: str
    unit: str
    note: str
    file: str

    @property
    def number(self) -> float | None:
        """The value, None if there is none."""
        return float(self.value) if self.value else None


def published_folder() -> Path:
    """Return the CSV files' folder: inside the package when installed, else in the checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "results" / "published", package.parent / "results" / "published"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"published numbers: neither in {package} nor in a checkout next to it; "
        "reinstall spion_bench"
    )


def read_published(folder: Path | None = None) -> list[PublishedNumber]:
    """Return all published numbers, file by file, in the order of the files.

    Args:
        folder: Holds the CSV files; None: the ones that come with the suite.

    Raises:
        ValueError: If a line is not such a number; it names file and line.
    """
    found = []
    for path in sorted((folder or published_folder()).glob("*.csv")):
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if tuple(header) != HEADER:
                raise ValueError(f"{path}: expected the header {list(HEADER)}, got {header}")
            for row in reader:
                found.append(_parse(row, path, reader.line_num))
    return found


def _parse(row: list[str], path: Path, line: int) -> PublishedNumber:
    if len(row) != len(HEADER):
        raise ValueError(f"{path}:{line}: expected {len(HEADER)} columns, got {len(row)}")
    entry = PublishedNumber(**dict(zip(HEADER, row, strict=True)), file=path.name)
    try:
        is_given = entry.number is not None
    except ValueError as error:
        raise ValueError(f"{path}:{line}: value: expected a number, got {entry.value!r}") from error
    if entry.unit not in UNITS:
        raise ValueError(f"{path}:{line}: unit: expected one of {UNITS}, got {entry.unit!r}")
    if not (entry.source and entry.table and entry.model and entry.metric):
        raise ValueError(f"{path}:{line}: source, table, model and metric may not be empty")
    if not is_given and not entry.note:
        raise ValueError(
            f"{path}:{line}: note: expected the reason for the missing value, got an empty note"
        )
    return entry
