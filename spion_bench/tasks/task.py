"""What a task is: labelled token sequences, where they came from, and how they are loaded.

A task is a folder next to this file. Its ``__init__.py`` declares ``SPEC``, a ``TaskSpec``; its
``config.toml`` holds the published settings. Tasks import no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt, ValidationError

from spion_bench.datasets.data_set import DataSet
from spion_bench.records.names import UsageError, check_name
from spion_bench.records.settings import Settings, describe_problems
from spion_bench.tasks.shortcuts import MAJORITY, Shortcut

OptionsT = TypeVar("OptionsT", bound=Settings)


class CountedOptions(Settings):
    """Options of a task whose splits may be cut.

    Attributes:
        n_train: Use at most this many training examples, the first ones; None: all.
        n_dev: The same for the dev split.
        n_test: The same for the test split.
    """

    n_train: PositiveInt | None = None
    n_dev: PositiveInt | None = None
    n_test: PositiveInt | None = None

    @property
    def counts(self) -> tuple[int | None, int | None, int | None]:
        """Examples of train, dev and test."""
        return self.n_train, self.n_dev, self.n_test


@dataclass(frozen=True)
class Split:
    """Examples of one split.

    Attributes:
        inputs: int16 or int32 token ids: ``[N, L]``, of a task with two towers ``[N, 2, L]``.
        labels: int64 ``[N]``; classes from 0.
    """

    inputs: NDArray[np.signedinteger[Any]]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.labels):
            raise ValueError(
                f"labels: expected one for each of the {len(self.inputs)} inputs, "
                f"got {len(self.labels)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int | None) -> Split:
        """Return the first ``count`` examples; None, or more than there are, means all."""
        return Split(self.inputs[:count], self.labels[:count])


def splits_sha256(*splits: Split) -> str:
    """Return one sha256 (hex) over the type, shape and values of all inputs and labels."""
    digest = hashlib.sha256()
    for split in splits:
        for array in (split.inputs, split.labels):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class DataSource:
    """Where the examples came from.

    Attributes:
        name: Name of the source, e.g. ``"cifar10"`` or ``"generated"``.
        version: Version of the source, or of the code that generates it.
        fingerprint: sha256 (hex) of the examples or of the file that holds them.
        stand_in: Whether this is other data than the published task's.
        description: One or two sentences for a report: what was used, how much of it, and why.
    """

    name: str
    version: str
    fingerprint: str
    stand_in: bool
    description: str


@dataclass(frozen=True)
class TaskSplits:
    """What a task's loader returns: the three splits and their source."""

    train: Split
    dev: Split
    test: Split
    source: DataSource

    @classmethod
    def of(cls, splits: Iterable[Split], **source: Any) -> TaskSplits:
        """Return three splits; the fingerprint of their ``source`` is that of their content."""
        train, dev, test = splits
        fingerprint = splits_sha256(train, dev, test)
        return cls(train, dev, test, DataSource(fingerprint=fingerprint, **source))


@dataclass(frozen=True)
class TaskData:
    """A task ready to train on.

    Attributes:
        name: The task's name.
        version: The task's version, from its configuration.
        train: What the model learns from.
        dev: What checkpoints are chosen by.
        test: What the result is measured on.
        source: Where the examples came from.
        vocab_size: Token ids are below it; the size of the published embedding table.
        n_classes: Labels are below it.
        length: Tokens per sequence, padding included; the padding id is 0.
        majority_share: Accuracy on the test split of always giving its most frequent label.
    """

    name: str
    version: str
    train: Split
    dev: Split
    test: Split
    source: DataSource
    vocab_size: int
    n_classes: int
    length: int
    majority_share: float


@dataclass(frozen=True)
class SourceSpec:
    """One place that a task's examples can come from.

    Attributes:
        name: As in the task's option ``source`` and in ``DataSource``.
        stand_in: Whether it is other data than the published task's, with the default options.
        find: Maps the data folder, or None, to what is there: a path, or a sentence for a source
            that needs no file; None if it is missing. Raises ValueError if what is found cannot
            be used.
        how_to_get: How to get it; empty for a source that is always present. ``{folder}``
            stands for the data folder.
        raw_files: Files and folders it may be read from, relative to the data folder (an absolute
            path stays what it is), in all layouts that are looked for.
        data_sets: What ``spion-bench data fetch`` can get of it.
    """

    name: str
    stand_in: bool
    find: Callable[[Path | None], Path | str | None]
    how_to_get: str = ""
    raw_files: tuple[str, ...] = ()
    data_sets: tuple[DataSet, ...] = ()

    @classmethod
    def always(cls, name: str, where: str, *, stand_in: bool) -> SourceSpec:
        """Return a source that needs no file, and ``where`` its examples come from."""
        return cls(name, stand_in, lambda data_dir: where)

    @classmethod
    def fetched(
        cls,
        data_set: DataSet,
        find: Callable[[Path | None], Path | str | None],
        what: str,
        raw_files: tuple[str, ...],
        *,
        name: str = "",
        others: tuple[DataSet, ...] = (),
    ) -> SourceSpec:
        """Return the published data as a source: a data set, which ``data fetch`` gets.

        Args:
            data_set: The data set; the source has its name unless ``name`` gives another.
            find: See the class, as for ``raw_files``.
            what: The file or folder that may be put into the data folder by hand instead.
            raw_files: See the class.
            name: See ``data_set``.
            others: Other data sets that hold the same.
        """
        how_to_get = f"run `spion-bench data fetch {data_set.name}`, or put {what} into {{folder}}"
        known = (data_set, *others)
        return cls(name or data_set.name, False, find, how_to_get, raw_files, known)


@dataclass(frozen=True)
class TaskSpec(Generic[OptionsT]):
    """A task: everything that the suite needs to know of it, except its published settings.

    Attributes:
        name: The task's name, also its folder's.
        options: The model of its options; every field has a default.
        read: Reads or generates the examples, given the data folder (or None) and the options.
        sources: Where the examples can come from; the first one found is used, unless the
            options ask for another.
        shortcuts: What can be answered without attention, the largest class first.
    """

    name: str
    options: type[OptionsT]
    read: Callable[[Path | None, OptionsT], TaskSplits]
    sources: tuple[SourceSpec, ...]
    shortcuts: tuple[Shortcut, ...] = (MAJORITY,)

    @property
    def raw_files(self) -> tuple[str, ...]:
        """Files and folders that the task may read, see ``SourceSpec``."""
        return tuple(path for source in self.sources for path in source.raw_files)

    @property
    def data_sets(self) -> tuple[DataSet, ...]:
        """What ``spion-bench data fetch`` can get for the task."""
        return tuple(data_set for source in self.sources for data_set in source.data_sets)

    def parse(self, options: Mapping[str, object]) -> OptionsT:
        """Check the task's options; those left out have their defaults.

        Raises:
            UsageError: If an option is unknown or its value is not allowed; it names the option.
        """
        for key in options:
            check_name(f"{self.name} option", key, self.options.model_fields)
        try:
            return self.options.model_validate(dict(options))
        except ValidationError as error:
            raise UsageError(f"task {self.name}: option {describe_problems(error)}") from error

    def load(self, data_dir: Path | None, options: Mapping[str, object]) -> TaskSplits:
        """Read or generate the examples; ``options`` as ``parse`` takes them.

        The source's description ends with the ranges of ids and labels that were found.

        Raises:
            UsageError: If an option is unknown or its value is not allowed.
            ValueError: If a data file is damaged.
            FileNotFoundError: If the source asked for is missing; it says which file to put
                where.
        """
        splits = self.read(data_dir, self.parse(options))
        ranges = f"{_range(splits, 'inputs', 'ids')}, {_range(splits, 'labels', 'labels')}"
        description = f"{splits.source.description}; {ranges}"
        return replace(splits, source=replace(splits.source, description=description))


def _range(splits: TaskSplits, part: str, name: str) -> str:
    arrays = [getattr(split, part) for split in (splits.train, splits.dev, splits.test)]
    full = [array for array in arrays if array.size]
    if not full:
        return f"no {name}"
    return f"{name} {min(a.min() for a in full)} to {max(a.max() for a in full)}"
