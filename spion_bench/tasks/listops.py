"""The ListOps task: compute the value of a nested list operation from its tokens.

The Long Range Arena published 96000 + 2000 + 2000 expressions drawn without a seed; they are read
where they are at hand, and drawn anew, with a seed, where not. Two tokenisations exist:
``brackets`` (the arena's since March 2021) and ``legacy`` (before, and in the data that the SPION
code names), which loses every closing bracket, so that the value no longer follows from the tokens.
"""

from __future__ import annotations

import csv
import itertools
import random
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from spion_bench.records.settings import Settings
from spion_bench.tasks.listops_expressions import (
    CLOSE_ID,
    DIGITS,
    detokenise,
    draw_expression,
    serialise,
    tokenise,
)
from spion_bench.tasks.sources import splits_sha256
from spion_bench.tasks.task import DataSource, Split, TaskSplits, parse_options

GENERATOR_VERSION = "1"
"""Raised whenever the same options and seed give other expressions."""

RELEASE_FILES = ("basic_train.tsv", "basic_val.tsv", "basic_test.tsv")
RELEASE_FOLDERS = (
    "listops-1000",
    "lra_release/listops-1000",
    "lra_release/lra_release/listops-1000",
)
_RELEASE_PAGE = "https://github.com/google-research/long-range-arena"
_HEADER = ["Source", "Target"]
_MAX_FRUITLESS_DRAWS = 200_000

Example = tuple[bytes, int]
"""The ids of an expression's bracket tokens, one byte each, and its value."""


class ListOpsOptions(Settings):
    """Options of the ListOps task; the defaults give the published distribution.

    Attributes:
        source: ``"auto"`` takes the Long Range Arena's release if it is there and the window and
            grammar are the published ones, else expressions are generated; the data source says
            which.
        tokens: ``"brackets"`` or ``"legacy"``, see the module's docstring.
        length: Tokens per sequence, zeros on the right included; longer ones are cut on the right.
        min_length: Expressions have more tokens than this, brackets included; None: a quarter of
            ``max_length`` (published: 500).
        max_length: Expressions have fewer tokens than this; None: ``length``, at most the published
            2000.
        max_depth: Of a digit; the outermost operation's depth is 1.
        max_args: Arguments of an operation.
        n_train: Training examples; of the release, the first ones.
        n_dev: The same for the dev split.
        n_test: The same for the test split.
        seed: Of the generator; the release has none.
    """

    source: Literal["auto", "release", "generated"] = "auto"
    tokens: Literal["brackets", "legacy"] = "brackets"
    length: int = Field(default=2048, ge=8)
    min_length: PositiveInt | None = None
    max_length: PositiveInt | None = None
    max_depth: int = Field(default=10, ge=2, le=100)
    max_args: int = Field(default=10, ge=2, le=100)
    n_train: PositiveInt = 96_000
    n_dev: PositiveInt = 2_000
    n_test: PositiveInt = 2_000
    seed: NonNegativeInt = 0

    @property
    def window(self) -> tuple[int, int]:
        """The number of an expression's tokens lies strictly between these two."""
        end = min(2000, self.length) if self.max_length is None else self.max_length
        return (end // 4 if self.min_length is None else self.min_length), end

    @property
    def counts(self) -> tuple[int, int, int]:
        """Examples of train, dev and test."""
        return self.n_train, self.n_dev, self.n_test

    @property
    def is_published(self) -> bool:
        """Whether the expressions follow the published distribution and none is cut."""
        grammar = (self.window, self.max_depth, self.max_args)
        return grammar == ((500, 2000), 10, 10) and self.length >= 2000


def load(data_dir: Path | None, options: Mapping[str, object]) -> TaskSplits:
    """Load or generate ListOps; ``options`` are those of ``ListOpsOptions``.

    Raises:
        ValueError: If an option is not allowed, or a released file is damaged.
        FileNotFoundError: If the release is asked for, or begun, and not all there.
    """
    chosen = parse_options(ListOpsOptions, "listops", options)
    folder = _find_release(data_dir)
    if chosen.source == "release" or (chosen.source == "auto" and chosen.is_published and folder):
        return _load_release(folder, data_dir, chosen)
    return _load_generated(chosen)


def generate(options: ListOpsOptions) -> Iterator[Example]:
    """Yield distinct expressions for ever, drawn with ``options.seed``.

    The Long Range Arena gathers them in a set and splits the set; drawing in order from the same
    distribution is the same without depending on a set's order.

    Raises:
        ValueError: If hardly any expression, or hardly any new one, fits the window.
    """
    low, end = options.window
    if low + 1 >= end:
        raise ValueError(
            f"task listops: options min_length, max_length: no number of tokens is more than {low} "
            f"and less than {end}"
        )
    draw = random.Random(options.seed).random
    seen: set[bytes] = set()
    fruitless = 0
    while fruitless < _MAX_FRUITLESS_DRAWS:
        fruitless += 1
        drawn = draw_expression(
            draw, max_depth=options.max_depth, max_arguments=options.max_args, max_length=end
        )
        if drawn is None or len(drawn[0]) <= low:
            continue
        digest = blake2b(drawn[0], digest_size=16).digest()  # a tenth of the expression's memory
        if digest not in seen:
            seen.add(digest)
            fruitless = 0
            yield drawn
    raise ValueError(
        f"task listops: options min_length, max_length: {_MAX_FRUITLESS_DRAWS} draws gave no new "
        f"expression of more than {low} and fewer than {end} tokens after {len(seen)}; widen the "
        "window, raise max_depth or max_args, or ask for fewer examples"
    )


def write_tsv(path: Path, examples: Iterable[Example]) -> None:
    """Write examples in the Long Range Arena's format: tab separated, header, CRLF."""
    with open(path, "w", encoding="ascii", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(_HEADER)
        writer.writerows((serialise(detokenise(ids)), value) for ids, value in examples)


def read_tsv(path: Path) -> Iterator[Example]:
    """Yield the examples of a file in the Long Range Arena's format.

    Raises:
        ValueError: If a line is not an expression and its value; it names file and line.
    """
    # What is not ASCII becomes a character that is no token, and so an error with its line.
    with open(path, encoding="ascii", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter="\t")
        try:
            header = next(reader, None)
            if header != _HEADER:
                raise ValueError(f"expected the header {_HEADER}, got {header}")
            for row in reader:
                if len(row) != 2 or row[1] not in DIGITS:
                    raise ValueError(f"expected an expression, a tab and a digit, got {row}"[:200])
                yield tokenise(row[0]), int(row[1])
        except (csv.Error, ValueError) as error:
            raise ValueError(f"{path}:{reader.line_num}: {error}") from error


def encode(examples: Iterable[Example], count: int, options: ListOpsOptions) -> Split:
    """Turn up to ``count`` examples into ids ``[N, length]``, cut on the right or padded with 0."""
    inputs = np.zeros((count, options.length), np.int16)
    labels = np.zeros(count, np.int64)
    n_found = 0
    for row, (ids, value) in enumerate(itertools.islice(examples, count)):
        tokens = np.frombuffer(ids, np.uint8)
        if options.tokens == "legacy":
            tokens = tokens[tokens != CLOSE_ID]
        tokens = tokens[: options.length]
        inputs[row, : len(tokens)] = tokens
        labels[row] = value
        n_found = row + 1
    return Split(inputs, labels).first(n_found)


def _find_release(data_dir: Path | None) -> Path | None:
    if data_dir is None:
        return None
    folders = [data_dir / name for name in RELEASE_FOLDERS]
    return next((f for f in folders if any((f / name).exists() for name in RELEASE_FILES)), None)


def _load_release(
    folder: Path | None, data_dir: Path | None, options: ListOpsOptions
) -> TaskSplits:
    if not options.is_published:
        raise ValueError(
            "task listops: option source: the release has the published lengths and grammar only; "
            "leave out min_length, max_length, max_depth, max_args and a length under 2000, or "
            "use source 'generated'"
        )
    missing = [name for name in RELEASE_FILES if folder is None or not (folder / name).exists()]
    if folder is None or missing:
        where = folder or (data_dir or Path("<data folder>")) / RELEASE_FOLDERS[0]
        raise FileNotFoundError(
            f"source 'release' needs {', '.join(missing)} in {where}; unpack listops-1000 from the "
            f"archive lra_release.gz that {_RELEASE_PAGE} links, or use source 'generated'"
        )
    splits: list[Split] = []
    for name, count in zip(RELEASE_FILES, options.counts, strict=True):
        split = encode(read_tsv(folder / name), count, options)
        if len(split) < count:
            raise ValueError(
                f"{folder / name}: holds {len(split)} examples, {count} are asked for; unpack the "
                "file again, or lower the options n_train, n_dev and n_test"
            )
        splits.append(split)
    return _with_source(splits, options, "release", "lra_release", "Long Range Arena's release")


def _load_generated(options: ListOpsOptions) -> TaskSplits:
    examples = generate(options)
    splits = [encode(examples, count, options) for count in options.counts]
    origin = (
        f"Drawn with seed {options.seed} as the Long Range Arena's generator does, depth up to "
        f"{options.max_depth}, up to {options.max_args} arguments"
    )
    return _with_source(splits, options, "generated", GENERATOR_VERSION, origin)


def _with_source(
    splits: list[Split], options: ListOpsOptions, name: str, version: str, origin: str
) -> TaskSplits:
    train, dev, test = splits
    low, end = options.window
    reason = "as asked"
    if options.source == "auto":
        found = "found" if name == "release" else "not found"
        reason = f"chosen because the release was {found}"
        if not options.is_published:
            reason = "chosen because the release has another length or grammar"
    cut = f", cut to {options.length}" if end - 1 > options.length else ""
    source = DataSource(
        name=name,
        version=version,
        fingerprint=splits_sha256(train, dev, test),
        stand_in=not options.is_published,
        description=(
            f"{origin} ({reason}); {low + 1} to {end - 1} tokens{cut}, tokenisation "
            f"{options.tokens}; {len(train)} train, {len(dev)} dev and {len(test)} test examples"
        ),
    )
    return TaskSplits(train, dev, test, source)
