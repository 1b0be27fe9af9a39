"""The stand-in for AAN: balanced, repeatable, split by file, and not trivial."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spion_bench.tasks.retrieval.stand_in import Pair, make_stand_in
from spion_bench.tasks.shared.corpus import PACKAGES, read_corpus
from tests.tasks.shared.byte_histograms import BOUND, accuracy, histograms


def pair_features(pairs: list[Pair]) -> NDArray[np.float64]:
    first = histograms([pair[0] for pair in pairs])
    second = histograms([pair[1] for pair in pairs])
    difference = np.abs(first - second)
    product = np.sqrt(first * second)
    return np.concatenate([first, second, difference, difference**2, product], axis=1)


def test_bag_of_bytes_does_not_solve_retrieval() -> None:
    train, _, test = make_stand_in(seed=0)
    found = accuracy(
        pair_features(train[:4000]),
        [pair[2] for pair in train[:4000]],
        pair_features(test),
        [pair[2] for pair in test],
    )
    assert 0.55 < found < BOUND


def test_retrieval_pairs_are_what_their_label_says() -> None:
    train, dev, test = make_stand_in(seed=0)
    files = read_corpus(PACKAGES)
    homes: dict[bytes, set[str]] = {}
    for file in files:
        for piece in file.pieces():
            homes.setdefault(piece, set()).add(file.path)
    splits = {file.path: file.split for file in files}
    for name, part in (("train", train), ("dev", dev), ("test", test)):
        assert sum(label for *_, label in part) * 2 == len(part) >= 500
        for first, second, label in part:
            assert any(path.startswith("scipy/") for path in homes[first])
            if label:
                assert homes[first] & homes[second]
            else:
                assert any(path.startswith("numpy/") for path in homes[second])
            assert name in {splits[path] for path in homes[first] | homes[second]}
    assert len(test) >= 1000
    assert make_stand_in(seed=0) == (train, dev, test)
    assert make_stand_in(seed=1)[2] != test
