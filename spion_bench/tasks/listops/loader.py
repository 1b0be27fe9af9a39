"""Loading ListOps: from the release, or from the generator."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from spion_bench.tasks.listops.expressions import CLOSE_ID, Example
from spion_bench.tasks.listops.generator import GENERATOR_VERSION, generate
from spion_bench.tasks.listops.options import ListOpsOptions
from spion_bench.tasks.listops.release import RELEASED, read_tsv
from spion_bench.tasks.task import Split, TaskSplits


def load(data_dir: Path | None, options: ListOpsOptions) -> TaskSplits:
    """Load or generate ListOps.

    Raises:
        ValueError: If no expression fits the options, or a released file is damaged.
        FileNotFoundError: If the release is incomplete, or is asked for and missing.
    """
    is_there = RELEASED.find(data_dir) is not None
    if options.source == "release" or (
        options.source == "auto" and options.is_published and is_there
    ):
        return _load_release(data_dir, options)
    return _load_generated(options)


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


def _load_release(data_dir: Path | None, options: ListOpsOptions) -> TaskSplits:
    if not options.is_published:
        raise ValueError(
            "task listops: option source: the release has the published lengths and grammar only; "
            "leave out min_length, max_length, max_depth, max_args and a length under 2000, or "
            "use source 'generated'"
        )
    splits = RELEASED.read(
        data_dir,
        options.counts,
        lambda path, count: encode(read_tsv(path), count, options),
    )
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
    lengths = np.concatenate([np.count_nonzero(split.inputs, axis=1) for split in splits])
    reason = "as requested"
    if options.source == "auto":
        found = "found" if name == "release" else "not found"
        reason = f"chosen because the release was {found}"
        if not options.is_published:
            reason = "chosen because the release has another length or grammar"
    cut = f", longer ones cut to {options.length}" if options.window[1] - 1 > options.length else ""
    return TaskSplits.of(
        splits,
        name=name,
        version=version,
        stand_in=not options.is_published,
        description=(
            f"{origin} ({reason}); {lengths.min()} to {lengths.max()} tokens{cut}, "
            f"tokenisation {options.tokens}; {len(train)} train, {len(dev)} dev and {len(test)} "
            "test examples"
        ),
    )
