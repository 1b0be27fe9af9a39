"""The digits that scikit-learn bundles, a stand-in for CIFAR-10 that is always available."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

from spion_bench.tasks.task import SourceSpec, Split, TaskSplits

_DEV_PER_CLASS = 20


def read_digits(side: int, *, seed: int, test_per_class: int = 30) -> TaskSplits:
    """Return scikit-learn's 1797 digits, ``[N, side * side]``; 1297 train, 200 dev, 300 test.

    The 8x8 pictures with values 0..16 become 0..255 and are enlarged by repeating pixels. They are
    shuffled; dev gets 20 examples of each class, test as many as asked for, train the rest.

    Args:
        side: Pixels of a row and of a column, a multiple of 8.
        seed: Seed of the shuffle.
        test_per_class: Test examples of each class.
    """
    import sklearn
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = np.rint(digits.images * 255 / 16).astype(np.int16)  # a tie, 127.5, goes to the even 128
    scale = side // 8
    pictures = grey.repeat(scale, axis=1).repeat(scale, axis=2).reshape(len(grey), -1)
    labels = digits.target.astype(np.int64)
    return TaskSplits.of(
        (Split(pictures[rows], labels[rows]) for rows in _deal(labels, seed, test_per_class)),
        name="digits",
        version=f"scikit-learn {sklearn.__version__}",
        stand_in=True,
        description=(
            f"scikit-learn's 8x8 digits enlarged to {side}x{side}, shuffled with seed {seed}"
        ),
    )


def _deal(labels: NDArray[np.int64], seed: int, test_per_class: int) -> list[NDArray[np.int64]]:
    """Return the rows of train, dev and test: every class dealt evenly, each part shuffled."""
    rng = random.Random(seed)
    order = _shuffled(np.arange(len(labels)), rng)
    part = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        places = np.flatnonzero(labels[order] == label)
        part[places[:test_per_class]] = 2
        part[places[test_per_class:][:_DEV_PER_CLASS]] = 1
    # Dealing took early rows of every class, so what is left needs a second shuffle.
    return [_shuffled(order[part == number], rng) for number in range(3)]


def _shuffled(rows: NDArray[np.int64], rng: random.Random) -> NDArray[np.int64]:
    # Python guarantees the sequence of random() for a seed, but not that of shuffle().
    return rows[np.argsort([rng.random() for _ in rows], kind="stable")]


SOURCE = SourceSpec.always("digits", "bundled with scikit-learn", stand_in=True)
