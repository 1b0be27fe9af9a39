"""ListOps files in the Long Range Arena's format: tab separated, header, CRLF."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from spion_bench.datasets.data_set import DataFile, DataSet
from spion_bench.records.quote import quote
from spion_bench.tasks.formats import open_text
from spion_bench.tasks.listops.expressions import DIGITS, Example, tokenise, value_of
from spion_bench.tasks.shared import long_range_arena
from spion_bench.tasks.task import SourceSpec

FOLDER = "listops-1000"
FILES = ("basic_train.tsv", "basic_val.tsv", "basic_test.tsv")
RELEASED = long_range_arena.ReleasedFiles(FOLDER, FILES, "release", otherwise="generated")
_HEADER = ["Source", "Target"]  # found by these names: other columns may stand next to them


def read_tsv(path: Path) -> Iterator[Example]:
    """Yield the examples of a file in the Long Range Arena's format.

    Raises:
        ValueError: If a line is not an expression and its value, or the file is not UTF-8; it names
            file and line.
    """
    with open_text(path) as file:
        reader = csv.reader(file, delimiter="\t")
        try:
            header = next(reader, [])
            if any(header.count(name) != 1 for name in _HEADER):
                found = [quote(name) for name in header[:4]]
                raise ValueError(f"expected a header with {_HEADER}, got {', '.join(found)}")
            text, label = (header.index(name) for name in _HEADER)
            for row in reader:
                if len(row) != len(header):
                    raise ValueError(f"expected {len(header)} columns, got {len(row)}")
                yield _example(row[text], row[label])
        except (csv.Error, ValueError) as error:
            raise ValueError(f"{path}:{reader.line_num}: {error}") from error


def _example(text: str, label: str) -> Example:
    ids = tokenise(text)
    value = value_of(ids)
    if label not in DIGITS:
        raise ValueError(f"Target: expected a digit, got {quote(label)}")
    if int(label) != value:
        raise ValueError(f"Target: expected {value}, the value of {quote(text)}, got {label}")
    return ids, value


DATA_SET = DataSet(
    name="listops",
    files=tuple(
        DataFile(f"{FOLDER}/{name}", f"{long_range_arena.BUCKET}/lra_release/{FOLDER}/{name}")
        for name in FILES
    ),
    page=long_range_arena.PAGE,
    licence=long_range_arena.LICENCE,
    note="optional: without it expressions are generated from the same distribution",
    size_note="about 0.6 GB for all three",
)

SOURCE = SourceSpec.fetched(
    DATA_SET,
    RELEASED.find,
    FOLDER,
    RELEASED.raw_files,
    name="release",
    others=(long_range_arena.RELEASE,),
)
