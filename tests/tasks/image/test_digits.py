from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from spion_bench.tasks.image.digits import read_digits


@pytest.mark.parametrize("side", [16, 32])
def test_digits_are_every_original_enlarged_once(side: int) -> None:
    splits = read_digits(side, seed=0)
    assert [len(split) for split in (splits.train, splits.dev, splits.test)] == [1297, 200, 300]
    rows = np.concatenate([s.inputs for s in (splits.train, splits.dev, splits.test)])
    labels = np.concatenate([s.labels for s in (splits.train, splits.dev, splits.test)])
    pictures = rows.reshape(-1, side, side)
    scale = side // 8
    small = pictures[:, ::scale, ::scale]
    assert np.array_equal(np.kron(small, np.ones((scale, scale), int)), pictures)
    digits = load_digits()
    expected = sorted(
        (int(label), [round(value * 255 / 16) for value in image.ravel()])
        for label, image in zip(digits.target, digits.images, strict=True)
    )
    found = zip(labels.tolist(), small.reshape(len(small), -1).tolist(), strict=True)
    assert sorted(found) == [(label, row) for label, row in expected]


def test_digits_splits_are_stratified() -> None:
    splits = read_digits(16, seed=0)
    totals = np.bincount(load_digits().target)
    assert np.bincount(splits.dev.labels).tolist() == [20] * 10
    assert np.bincount(splits.test.labels).tolist() == [30] * 10
    assert np.bincount(splits.train.labels).tolist() == (totals - 50).tolist()


def test_more_digits_can_be_kept_for_the_test() -> None:
    splits = read_digits(16, seed=0, test_per_class=100)
    assert np.bincount(splits.test.labels).tolist() == [100] * 10
    assert np.bincount(splits.dev.labels).tolist() == [20] * 10
    assert len(splits.train) == 1797 - 1200


def test_digits_order_depends_on_the_seed_alone() -> None:
    first, again, other = (read_digits(16, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.test.inputs, again.test.inputs)
    assert first.source.fingerprint == again.source.fingerprint
    assert first.source.fingerprint != other.source.fingerprint


def test_digits_order_is_pinned() -> None:
    assert read_digits(16, seed=0).test.labels[:8].tolist() == [1, 9, 9, 4, 2, 7, 1, 4]


@pytest.mark.parametrize("part", ["train", "dev", "test"])
def test_the_first_digits_of_a_split_are_a_fair_sample(part: str) -> None:
    # A cap keeps the first examples, so these must not be sorted by class in any way.
    labels = getattr(read_digits(16, seed=0), part).labels
    counts = np.bincount(labels[:100], minlength=10)
    assert counts.min() >= 3
    assert counts.max() <= 20
