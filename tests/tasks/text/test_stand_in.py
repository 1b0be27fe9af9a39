"""The stand-in for IMDb: balanced, repeatable, split by file, and not trivial."""

from __future__ import annotations

from spion_bench.tasks.text.stand_in import make_stand_in, mix_letters
from tests.tasks.shared.byte_histograms import accuracy, histograms


def test_it_is_balanced_and_split_by_file() -> None:
    documents = make_stand_in(seed=0)
    assert documents.dev is not None
    parts = (documents.train, documents.dev, documents.test)
    for part in parts:
        assert {len(text) for text, _ in part} == {1000}
        assert sum(label for _, label in part) * 2 == len(part)
        assert 5 < sum(label for _, label in part[:30]) < 25
    assert len(documents.test) >= 1000
    assert len(documents.train) >= 5000


def test_it_is_repeatable_and_depends_on_its_seed() -> None:
    one, again, other = (make_stand_in(seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one.test != other.test


def test_bag_of_bytes_does_not_solve_text() -> None:
    documents = make_stand_in(seed=0)
    train, test = documents.train[:3000], documents.test
    found = accuracy(
        histograms([text for text, _ in train]),
        [label for _, label in train],
        histograms([text for text, _ in test]),
        [label for _, label in test],
    )
    assert found < 0.65


def test_only_the_order_of_letters_within_words_differs() -> None:
    draws = iter([0.9, 0.1, 0.5] * 10)
    mixed = mix_letters(b"def as abc(x): # lines_of 123", lambda: next(draws))
    assert sorted(mixed) == sorted(b"def as abc(x): # lines_of 123")
    assert mixed == b"efd as bca(x): # " + mixed[17:22] + b"_of 123"
