"""The retrieval task: are two documents, each read byte by byte, related?

The published data is pairs of papers of the ACL Anthology Network (AAN), of which one cites the
other or not (Long Range Arena). Where it is not at hand, pairs of pieces of source files, of the
same file or not, stand in for it, and are labelled a stand-in. Both documents run through the same
encoder; how the head combines them is the configuration's decision (``pair_features``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from spion_bench.records.settings import Settings
from spion_bench.tasks.byte_encoding import default_max_length, encode_bytes
from spion_bench.tasks.corpus import corpus_version
from spion_bench.tasks.retrieval_stand_in import STAND_IN_PACKAGES, Pair, make_stand_in
from spion_bench.tasks.sources import splits_sha256
from spion_bench.tasks.task import DataSource, Split, TaskSplits, parse_options

RELEASE_FILES = ("new_aan_pairs.train.tsv", "new_aan_pairs.eval.tsv", "new_aan_pairs.test.tsv")
RELEASE_FOLDERS = ("tsv_data", "lra_release/tsv_data", "lra_release/lra_release/tsv_data")
_RELEASE_PAGE = "https://github.com/google-research/long-range-arena"
_PUBLISHED_COUNTS = (147_086, 18_090, 17_437)
_TEXT_BYTES = 10_000  # a text is cut to these before it is encoded
_LABELS = {b"0.0": 0, b"1.0": 1, b"0": 0, b"1": 1}


class RetrievalOptions(Settings):
    """Options of the retrieval task.

    Attributes:
        source: ``"auto"`` takes AAN if it is there, else the stand-in; the data source says which.
        length: Ids per document, zeros on the right included.
        max_length: Bytes read of a document; None: the published 4000 at length 4096 and 1000 at
            1024, else ``length``.
        n_train: Training pairs, the first ones; None: the published 147086, or all of the stand-in.
        n_dev: The same for the dev split; None: 18090, or all.
        n_test: The same for the test split; None: 17437, or all.
        seed: Of the stand-in's choice; AAN keeps the order of its files.
    """

    source: Literal["auto", "aan", "stand-in"] = "auto"
    length: int = Field(default=4096, ge=8)
    max_length: PositiveInt | None = None
    n_train: PositiveInt | None = None
    n_dev: PositiveInt | None = None
    n_test: PositiveInt | None = None
    seed: NonNegativeInt = 0

    @property
    def counts(self) -> tuple[int | None, int | None, int | None]:
        """Pairs of train, dev and test."""
        return self.n_train, self.n_dev, self.n_test


def load(data_dir: Path | None, options: Mapping[str, object]) -> TaskSplits:
    """Load the retrieval task; ``options`` are those of ``RetrievalOptions``.

    Raises:
        ValueError: If an option is not allowed, or a file is damaged or too short.
        FileNotFoundError: If AAN is asked for, or begun, and not all there.
    """
    chosen = parse_options(RetrievalOptions, "retrieval", options)
    folder = find_aan(data_dir)
    if chosen.source == "aan" or (chosen.source == "auto" and folder):
        return _load_aan(folder, data_dir, chosen)
    return _load_stand_in(chosen)


def find_aan(data_dir: Path | None) -> Path | None:
    """Return the folder that holds the pairs, or some of them."""
    if data_dir is None:
        return None
    folders = [data_dir / name for name in RELEASE_FOLDERS]
    return next((f for f in folders if any((f / name).exists() for name in RELEASE_FILES)), None)


def read_tsv(path: Path) -> Iterator[Pair]:
    """Yield the pairs of a file in the Long Range Arena's format.

    Lines have five columns: label, two ids, two texts; no header, no quoting.

    Raises:
        ValueError: If a line is not a pair; it names file and line.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            columns = line.rstrip(b"\r\n").split(b"\t")
            if len(columns) != 5 or columns[0] not in _LABELS:
                raise ValueError(
                    f"{path}:{number}: expected label 0.0 or 1.0, two ids and two texts between "
                    f"tabs, got {len(columns)} columns that begin with {columns[0][:20]!r}; unpack "
                    "the file again"
                )
            first, second = columns[3][:_TEXT_BYTES], columns[4][:_TEXT_BYTES]
            yield first, second, _LABELS[columns[0]]


def _load_aan(folder: Path | None, data_dir: Path | None, options: RetrievalOptions) -> TaskSplits:
    missing = [name for name in RELEASE_FILES if folder is None or not (folder / name).exists()]
    if folder is None or missing:
        where = folder or (data_dir or Path("<data folder>")) / RELEASE_FOLDERS[0]
        raise FileNotFoundError(
            f"source 'aan' needs {', '.join(missing)} in {where}; unpack tsv_data from the archive "
            f"lra_release.gz that {_RELEASE_PAGE} links, or use source 'stand-in'"
        )
    splits = []
    for name, asked, published in zip(
        RELEASE_FILES, options.counts, _PUBLISHED_COUNTS, strict=True
    ):
        count = published if asked is None else asked
        split = _encode(islice(read_tsv(folder / name), count), count, options)
        if len(split) < count:
            raise ValueError(
                f"{folder / name}: holds {len(split)} pairs, {count} are asked for; unpack the "
                "file again, or lower the options n_train, n_dev and n_test"
            )
        splits.append(split)
    reason = "as asked" if options.source == "aan" else "chosen because they were found"
    origin = f"Pairs of AAN papers of the Long Range Arena's release, in file order ({reason})"
    return _with_source(splits, "aan", "lra_release", origin)


def _load_stand_in(options: RetrievalOptions) -> TaskSplits:
    pairs = make_stand_in(seed=options.seed)
    wanted = [part[:count] for part, count in zip(pairs, options.counts, strict=True)]
    splits = [_encode(iter(part), len(part), options) for part in wanted]
    reason = "as asked" if options.source == "stand-in" else "chosen because AAN was not found"
    origin = (
        "Stand-in, not AAN: a piece of 1000 bytes of a SciPy file, and another of the same file or "
        f"one of a NumPy file; split by file, seed {options.seed} ({reason})"
    )
    return _with_source(splits, "stand-in", corpus_version(STAND_IN_PACKAGES), origin)


def _encode(pairs: Iterator[Pair], count: int, options: RetrievalOptions) -> Split:
    """Turn up to ``count`` pairs into ids ``[N, 2, length]``."""
    max_length = options.max_length or default_max_length(options.length)
    inputs = np.empty((count, 2, options.length), np.int16)
    labels = np.empty(count, np.int64)
    n_found = 0
    for row, (first, second, label) in enumerate(pairs):
        encode_bytes(first, inputs[row, 0], max_length)
        encode_bytes(second, inputs[row, 1], max_length)
        labels[row] = label
        n_found = row + 1
    return Split(inputs, labels).first(n_found)


def _with_source(splits: list[Split], name: str, version: str, origin: str) -> TaskSplits:
    train, dev, test = splits
    source = DataSource(
        name=name,
        version=version,
        fingerprint=splits_sha256(train, dev, test),
        stand_in=name == "stand-in",
        description=(f"{origin}; {len(train)} train, {len(dev)} dev and {len(test)} test examples"),
    )
    return TaskSplits(train, dev, test, source)
