"""Loading the text task: from IMDb, or from the stand-in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from spion_bench.records.settings import Settings
from spion_bench.tasks.shared.byte_encoding import default_max_length, encode_bytes
from spion_bench.tasks.task import Split, TaskSplits
from spion_bench.tasks.text.documents import Document
from spion_bench.tasks.text.imdb import find_imdb, read_imdb
from spion_bench.tasks.text.stand_in import make_stand_in

_HELD_OUT = 10  # one training document in this many


class TextOptions(Settings):
    """Options of the text task.

    Attributes:
        source: ``"auto"`` takes IMDb if present, else the stand-in; the data source says which.
        length: Ids per document, zeros on the right included.
        max_length: Bytes read of a document; None: the published 4000 at length 4096 and 1000 at
            1024, else ``length``.
        dev: ``"test"``: IMDb's dev split is its test split, as published; ``"held_out"``: the last
            tenth of its training documents. The stand-in has a dev split of its own.
        n_train: Use at most this many training examples, the first ones; None: all.
        n_dev: The same for the dev split.
        n_test: The same for the test split.
        verify: Whether IMDb must have the published content; False is for tests.
        seed: Seed of the documents' order, and of the stand-in's choice.
    """

    source: Literal["auto", "imdb", "stand-in"] = "auto"
    length: int = Field(default=4096, ge=8)
    max_length: PositiveInt | None = None
    dev: Literal["test", "held_out"] = "test"
    n_train: PositiveInt | None = None
    n_dev: PositiveInt | None = None
    n_test: PositiveInt | None = None
    verify: bool = True
    seed: NonNegativeInt = 0


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
    wanted = ((train, options.n_train), (dev, options.n_dev), (documents.test, options.n_test))
    splits = [_encode(part[:count], options) for part, count in wanted]
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
    max_length = options.max_length or default_max_length(options.length)
    inputs = np.empty((len(documents), options.length), np.int16)
    for row, (content, _) in enumerate(documents):
        encode_bytes(content, inputs[row], max_length)
    return Split(inputs, np.array([label for _, label in documents], np.int64))
