"""Loading the retrieval task: from AAN, or from the stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from spion_bench.tasks.retrieval.aan import RELEASED, read_tsv
from spion_bench.tasks.retrieval.stand_in import Pair, make_stand_in
from spion_bench.tasks.shared.byte_encoding import DocumentOptions, encode_bytes
from spion_bench.tasks.shared.corpus import PACKAGES, corpus_version
from spion_bench.tasks.task import Split, TaskSplits

_PUBLISHED_COUNTS = (147_086, 18_090, 17_437)


class RetrievalOptions(DocumentOptions):
    """Options of the retrieval task, besides those of ``DocumentOptions``.

    ``n_train``, ``n_dev`` and ``n_test`` count pairs; None: the published 147086, 18090 and 17437
    of AAN, or all of the stand-in. AAN keeps the order of its files.

    Attributes:
        source: ``"auto"`` takes AAN if present, else the stand-in; the data source says which.
    """

    source: Literal["auto", "aan", "stand-in"] = "auto"


def load(data_dir: Path | None, options: RetrievalOptions) -> TaskSplits:
    """Load the retrieval task.

    Raises:
        ValueError: If a file is damaged or too short.
        FileNotFoundError: If AAN is incomplete, or is asked for and missing.
    """
    is_there = RELEASED.find(data_dir) is not None
    if options.source == "aan" or (options.source == "auto" and is_there):
        return _load_aan(data_dir, options)
    return _load_stand_in(options)


def _load_aan(data_dir: Path | None, options: RetrievalOptions) -> TaskSplits:
    counts = [
        published if asked is None else asked
        for asked, published in zip(options.counts, _PUBLISHED_COUNTS, strict=True)
    ]
    splits = RELEASED.read(
        data_dir,
        counts,
        lambda path, count: _encode(islice(read_tsv(path), count), count, options),
    )
    reason = "as requested" if options.source == "aan" else "chosen because they were found"
    origin = f"Pairs of AAN papers of the Long Range Arena's release, in file order ({reason})"
    return _with_source(splits, "aan", "lra_release", origin)


def _load_stand_in(options: RetrievalOptions) -> TaskSplits:
    pairs = make_stand_in(seed=options.seed)
    wanted = [part[:count] for part, count in zip(pairs, options.counts, strict=True)]
    splits = [_encode(iter(part), len(part), options) for part in wanted]
    reason = "as requested" if options.source == "stand-in" else "chosen because AAN was not found"
    origin = (
        "Stand-in, not AAN: a piece of 1000 bytes of a file of NumPy or SciPy, and another of the "
        f"same file (1) or one of a different file (0); split by file, seed {options.seed} "
        f"({reason})"
    )
    return _with_source(splits, "stand-in", corpus_version(PACKAGES), origin)


def _encode(pairs: Iterator[Pair], count: int, options: RetrievalOptions) -> Split:
    """Turn up to ``count`` pairs into ids ``[N, 2, length]``."""
    inputs = np.empty((count, 2, options.length), np.int16)
    labels = np.empty(count, np.int64)
    n_found = 0
    for row, (first, second, label) in enumerate(pairs):
        encode_bytes(first, inputs[row, 0], options.n_bytes)
        encode_bytes(second, inputs[row, 1], options.n_bytes)
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
