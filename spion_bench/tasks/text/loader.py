"""Loading the text task: from IMDb, or from the stand-in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from spion_bench.tasks.shared.byte_encoding import DocumentOptions, encode_bytes
from spion_bench.tasks.task import Split, TaskSplits
from spion_bench.tasks.text.documents import Document
from spion_bench.tasks.text.imdb import find_imdb, read_imdb
from spion_bench.tasks.text.stand_in import make_stand_in

_HELD_OUT = 10  # one training document in this many


class TextOptions(DocumentOptions):
    """Options of the text task, besides those of ``DocumentOptions``.

    Attributes:
        source: ``"auto"`` takes IMDb if present, else the stand-in; the data source says which.
        dev: ``"test"``: IMDb's dev split is its test split, as published; ``"held_out"``: the last
            tenth of its training documents. The stand-in has a dev split of its own.
        verify: Whether IMDb must have the published content; False is for tests.
    """

    source: Literal["auto", "imdb", "stand-in"] = "auto"
    dev: Literal["test", "held_out"] = "test"
    verify: bool = True


def load(data_dir: Path | None, options: TextOptions) -> TaskSplits:
    """Load the text task.

    Raises:
        ValueError: If a data file is damaged.
        FileNotFoundError: If the source asked for is missing.
    """
    reason = "as requested"
    name = options.source
    if name == "auto":
        name = "stand-in" if find_imdb(data_dir) is None else "imdb"
        reason = f"chosen because IMDb was {'not ' if name == 'stand-in' else ''}found"
    if name == "imdb":
        documents = read_imdb(data_dir, seed=options.seed, verify=options.verify)
    else:
        documents = make_stand_in(seed=options.seed)
    train, dev = documents.train, documents.dev
    if dev is None:
        dev = documents.test
        if options.dev == "held_out":
            n_known = len(train) - len(train) // _HELD_OUT
            train, dev = train[:n_known], train[n_known:]
    parts = (train, dev, documents.test)
    splits = [_encode(p[:n], options) for p, n in zip(parts, options.counts, strict=True)]
    return TaskSplits.of(
        splits,
        name=name,
        version=documents.version,
        stand_in=name == "stand-in",
        description=(
            f"{documents.description} ({reason}); uses {len(splits[0])} of {len(train)} train, "
            f"{len(splits[1])} of {len(dev)} dev{_dev_note(documents.dev is None, options)} and "
            f"{len(splits[2])} of {len(documents.test)} test examples"
        ),
    )


def _dev_note(without_dev: bool, options: TextOptions) -> str:
    if not without_dev:
        return ""
    return " (the test split)" if options.dev == "test" else " (held out of train)"


def _encode(documents: list[Document], options: TextOptions) -> Split:
    inputs = np.empty((len(documents), options.length), np.int16)
    for row, (content, _) in enumerate(documents):
        encode_bytes(content, inputs[row], options.n_bytes)
    return Split(inputs, np.array([label for _, label in documents], np.int64))
