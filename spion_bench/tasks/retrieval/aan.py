"""Pairs of papers of the ACL Anthology Network, the published data of the retrieval task."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from spion_bench.records.quote import quote
from spion_bench.tasks.formats import open_text
from spion_bench.tasks.retrieval.stand_in import Pair
from spion_bench.tasks.shared import long_range_arena
from spion_bench.tasks.task import SourceSpec

FOLDER = "tsv_data"
FILES = ("new_aan_pairs.train.tsv", "new_aan_pairs.eval.tsv", "new_aan_pairs.test.tsv")
RELEASED = long_range_arena.ReleasedFiles(FOLDER, FILES, "aan", otherwise="stand-in", unit="pairs")
_TEXT_BYTES = 10_000  # a text is cut to these before it is encoded
_LABELS = {b"0.0": 0, b"1.0": 1, b"0": 0, b"1": 1}


def read_tsv(path: Path) -> Iterator[Pair]:
    """Yield the pairs of a file in the Long Range Arena's format.

    Lines have five columns: label, two ids, two texts; no header, no quoting.

    Raises:
        ValueError: If a line is not a pair; it names file and line.
    """
    open_text(path).close()  # refuses UTF-16; texts are read as bytes, whatever they are
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            content = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            columns = content.rstrip(b"\r\n").split(b"\t")
            if len(columns) != 5 or columns[0] not in _LABELS:
                found = f"{len(columns)} columns"
                if len(columns) == 5:
                    found = f"label {quote(columns[0])}"
                raise ValueError(
                    f"{path}:{number}: expected label 0.0 or 1.0, two ids and two texts between "
                    f"tabs, got {found}; unpack the file again"
                )
            first, second = columns[3][:_TEXT_BYTES], columns[4][:_TEXT_BYTES]
            yield first, second, _LABELS[columns[0]]


SOURCE = SourceSpec(
    name="aan",
    stand_in=False,
    find=RELEASED.find,
    how_to_get=(
        "run `spion-bench data fetch lra-release --part retrieval`, or put the release's "
        f"{FOLDER} into {{folder}}"
    ),
    raw_files=RELEASED.raw_files,
    data_sets=(long_range_arena.RELEASE,),
)
