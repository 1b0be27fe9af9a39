"""The stand-ins for IMDb and AAN: balanced, repeatable, split by file, and not trivial."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spion_bench.tasks import corpus, retrieval_stand_in, text_sources
from spion_bench.tasks.corpus import corpus_version, read_corpus

BOUND = 0.85  # of a classifier that sees how often each byte occurs, but not where


def histograms(texts: list[bytes]) -> NDArray[np.float64]:
    counts = [np.bincount(np.frombuffer(text, np.uint8), minlength=256) for text in texts]
    return np.array(counts) / 1000


def accuracy(
    train: NDArray[np.float64], labels: list[int], test: NDArray[np.float64], truth: list[int]
) -> float:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.03, max_iter=500))
    return float(model.fit(train, labels).score(test, truth))


def test_text_is_balanced_and_split_by_file() -> None:
    documents = text_sources.make_stand_in(seed=0)
    assert documents.dev is not None
    parts = (documents.train, documents.dev, documents.test)
    for part in parts:
        assert {len(text) for text, _ in part} == {1000}
        assert sum(label for _, label in part) * 2 == len(part)
        assert 5 < sum(label for _, label in part[:30]) < 25
    assert len(documents.test) >= 1000
    assert len(documents.train) >= 5000


def test_text_is_repeatable_and_depends_on_its_seed() -> None:
    one, again, other = (text_sources.make_stand_in(seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one.test != other.test


def test_bag_of_bytes_does_not_solve_text() -> None:
    documents = text_sources.make_stand_in(seed=0)
    train, test = documents.train[:3000], documents.test
    found = accuracy(
        histograms([text for text, _ in train]),
        [label for _, label in train],
        histograms([text for text, _ in test]),
        [label for _, label in test],
    )
    assert 0.55 < found < BOUND


def pair_features(pairs: list[retrieval_stand_in.Pair]) -> NDArray[np.float64]:
    first = histograms([pair[0] for pair in pairs])
    second = histograms([pair[1] for pair in pairs])
    difference = np.abs(first - second)
    product = np.sqrt(first * second)
    return np.concatenate([first, second, difference, difference**2, product], axis=1)


def test_bag_of_bytes_does_not_solve_retrieval() -> None:
    train, _, test = retrieval_stand_in.make_stand_in(seed=0)
    found = accuracy(
        pair_features(train[:4000]),
        [pair[2] for pair in train[:4000]],
        pair_features(test),
        [pair[2] for pair in test],
    )
    assert 0.55 < found < BOUND


def test_retrieval_pairs_are_what_their_label_says() -> None:
    train, dev, test = retrieval_stand_in.make_stand_in(seed=0)
    files = read_corpus(retrieval_stand_in.STAND_IN_PACKAGES)
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
    assert retrieval_stand_in.make_stand_in(seed=0) == (train, dev, test)
    assert retrieval_stand_in.make_stand_in(seed=1)[2] != test


def test_version_names_packages_and_hashes_every_file(monkeypatch: pytest.MonkeyPatch) -> None:
    files = read_corpus(("numpy",))
    version = corpus_version(("numpy",))
    assert version.startswith(f"numpy {np.__version__}; sha256 of the files ")
    monkeypatch.setattr(corpus, "read_corpus", lambda packages: files[1:])
    assert corpus_version(("numpy",)) != version


def test_package_that_is_not_installed_is_named() -> None:
    message = r"package absent_package, which is not installed; run `pip install absent_package`"
    with pytest.raises(FileNotFoundError, match=message):
        read_corpus(("absent_package",))
