"""Loading the retrieval task: from AAN, or from the stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from spion_bench.records.settings import Settings
from spion_bench.tasks.retrieval.aan import FILES, find_aan, read_tsv, require_aan
from spion_bench.tasks.retrieval.stand_in import Pair, make_stand_in
from spion_bench.tasks.shared.byte_encoding import default_max_length, encode_bytes
from spion_bench.tasks.shared.corpus import PACKAGES, corpus_version
from spion_bench.tasks.task import Split, TaskSplits

_PUBLISHED_COUNTS = (147_086, 18_090, 17_437)


class RetrievalOptions(Settings):
    """Options of the retrieval task.

    Attributes:
        source: ``"auto"`` takes AAN if present, else the stand-in; the data source says which.
        length: Ids per document, zeros on the right included.
        max_length: Bytes read of a document; None: the published 4000 at length 4096 and 1000 at
            1024, else ``length``.
        n_train: Training pairs, the first ones; None: the published 147086, or all of the stand-in.
        n_dev: The same for the dev split; None: 18090, or all.
        n_test: The same for the test split; None: 17437, or all.
        seed: Seed of the stand-in's choice; AAN keeps the order of its files.
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


def load(data_dir: Path | None, options: RetrievalOptions) -> TaskSplits:
    """Load the retrieval task.

    Raises:
        ValueError: If a file is damaged or too short.
        FileNotFoundError: If AAN is incomplete, or is asked for and missing.
    """
    is_there = find_aan(data_dir) is not None
    if options.source == "aan" or (options.source == "auto" and is_there):
        return _load_aan(data_dir, options)
    return _load_stand_in(options)


def _load_aan(data_dir: Path | None, options: RetrievalOptions) -> TaskSplits:
    folder = require_aan(data_dir)
    splits = []
    for name, asked, published in zip(FILES, options.counts, _PUBLISHED_COUNTS, strict=True):
        count = published if asked is None else asked
        split = _encode(islice(read_tsv(folder / name), count), count, options)
        if len(split) < count:
            raise ValueError(
                f"{folder / name}: holds {len(split)} pairs, {count} are asked for; unpack the "
                "file again, or lower the options n_train, n_dev and n_test"
            )
        splits.append(split)
    reason = "as requested" if options.source == "aan" else "chosen because they were found"
    origin = f"Pairs of AAN papers of the Long Range Arena's release, in file order ({reason})"
    return _with_source(splits, "aan", "lra_release", origin)


def _load_stand_in(options: RetrievalOptions) -> TaskSplits:
    pairs = make_stand_in(seed=options.seed)
    wanted = [part[:count] for part, count in zip(pairs, options.counts, strict=True)]
    splits = [_encode(iter(part), len(part), options) for part in wanted]
    reason = "as requested" if options.source == "stand-in" else "chosen because AAN was not found"
    origin = (
        "Stand-in, not AAN: a piece of 1000 bytes of a SciPy file, and another of the same file or "
        f"one of a NumPy file; split by file, seed {options.seed} ({reason})"
    )
    return _with_source(splits, "stand-in", corpus_version(PACKAGES), origin)


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
    return TaskSplits.of(
        splits,
        name=name,
        version=version,
        stand_in=name == "stand-in",
        description=f"{origin}; {len(train)} train, {len(dev)} dev and {len(test)} test examples",
    )
