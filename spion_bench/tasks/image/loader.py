"""Loading the image task from the requested source, or the first one found."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, NonNegativeInt

from spion_bench.tasks.image.cifar10 import find_cifar10, read_cifar10
from spion_bench.tasks.image.digits import read_digits
from spion_bench.tasks.image.fashion_mnist import find_fashion_mnist, read_fashion_mnist
from spion_bench.tasks.task import CountedOptions, TaskSplits

_FULL_LENGTH: Final = 1024

SourceName = Literal["cifar10", "fashion-mnist", "digits"]


class ImageOptions(CountedOptions):
    """Options of the image task, besides those of ``CountedOptions``.

    Attributes:
        source: ``"auto"`` takes the first of cifar10, fashion-mnist and digits that is found and
            has pictures of this length, and the data source says which.
        length: Pixels of a picture: 1024 (32x32), of digits and Fashion-MNIST also 256 (16x16).
        verify: Whether a data file must have the published content; False is for tests.
        seed: Seed of the shuffle that splits the digits; the other sources have fixed splits.
        test_per_class: Test examples of each class of the digits; about 177 of each exist.
    """

    source: Literal["auto", "cifar10", "fashion-mnist", "digits"] = "auto"
    length: Literal[256, 1024] = _FULL_LENGTH
    verify: bool = True
    seed: NonNegativeInt = 0
    test_per_class: int = Field(default=30, ge=1, le=100)


def load(data_dir: Path | None, options: ImageOptions) -> TaskSplits:
    """Load the image task.

    Raises:
        ValueError: If the source has no pictures of this length, or a data file is damaged.
        FileNotFoundError: If the source asked for is missing.
    """
    name, reason = _choose_source(data_dir, options)
    if name == "cifar10" and options.length != _FULL_LENGTH:
        raise ValueError(
            f"task image: option length: source {name!r} has {_FULL_LENGTH} pixels, got "
            f"{options.length}; leave length out or use source 'fashion-mnist' or 'digits'"
        )
    if name == "cifar10":
        splits = read_cifar10(data_dir, verify=options.verify)
    elif name == "fashion-mnist":
        splits = read_fashion_mnist(
            data_dir, side=math.isqrt(options.length), verify=options.verify
        )
    else:
        side = math.isqrt(options.length)
        splits = read_digits(side, seed=options.seed, test_per_class=options.test_per_class)
    return _cap(splits, options, reason)


def _choose_source(data_dir: Path | None, options: ImageOptions) -> tuple[SourceName, str]:
    """Return the source and why it was chosen."""
    if options.source != "auto":
        return options.source, "as requested"
    is_full = options.length == _FULL_LENGTH
    if is_full and find_cifar10(data_dir) is not None:
        return "cifar10", "chosen because it was found"
    without = "CIFAR-10 was not found" if is_full else "CIFAR-10 has no pictures of this length"
    if find_fashion_mnist(data_dir) is not None:
        return "fashion-mnist", f"chosen because {without}"
    return "digits", f"chosen because {without} and Fashion-MNIST was not found"


def _cap(splits: TaskSplits, options: ImageOptions, reason: str) -> TaskSplits:
    """Cap the splits as requested; the description says how much of how much is used."""
    train = splits.train.first(options.n_train)
    dev = splits.dev.first(options.n_dev)
    test = splits.test.first(options.n_test)
    description = (
        f"{splits.source.description} ({reason}); uses {len(train)} of {len(splits.train)} train, "
        f"{len(dev)} of {len(splits.dev)} dev and {len(test)} of {len(splits.test)} test examples"
    )
    source = dataclasses.replace(splits.source, description=description)
    return TaskSplits(train, dev, test, source)
