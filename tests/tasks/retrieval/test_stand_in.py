"""The stand-in for AAN: balanced, repeatable, split by file, and not trivial."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spion_bench.tasks.retrieval.stand_in import Pair, make_stand_in
from spion_bench.tasks.shared.corpus import PACKAGES, read_corpus
from tests.tasks.shared.byte_histograms import accuracy, histograms


def test_neither_document_alone_nor_both_histograms_decide() -> None:
    train, _, test = make_stand_in(seed=0)
    labels, truth = ([pair[2] for pair in part] for part in (train[:4000], test))

    def features(part: list[Pair], *documents: Literal[0, 1]) -> NDArray[np.float64]:
        return np.concatenate([histograms([pair[d] for pair in part]) for d in documents], axis=1)

    assert accuracy(features(train[:4000], 0), labels, features(test, 0), truth) < 0.6
    assert accuracy(features(train[:4000], 1), labels, features(test, 1), truth) < 0.6
    assert accuracy(features(train[:4000], 0, 1), labels, features(test, 0, 1), truth) < 0.6


def test_both_labels_hold_the_same_documents() -> None:
    for part in make_stand_in(seed=0):
        for document in (0, 1):
            related, other = (
                sorted(pair[document] for pair in part if pair[2] == label) for label in (1, 0)
            )
            assert related == other


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
            assert bool(homes[first] & homes[second]) == label
            assert name in {splits[path] for path in homes[first] | homes[second]}
    assert len(test) >= 1000
    assert make_stand_in(seed=0) == (train, dev, test)
    assert make_stand_in(seed=1)[2] != test
