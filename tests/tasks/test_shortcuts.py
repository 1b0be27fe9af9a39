"""Shortcut predictors: what they see, and what they cannot see."""

from __future__ import annotations

import numpy as np
import pytest

from spion_bench.tasks import load_spec, task_names
from spion_bench.tasks.shortcuts import (
    MAJORITY,
    by_first_token,
    counts,
    first_token,
    regression,
    values,
)
from spion_bench.tasks.task import Split


def split(inputs, labels) -> Split:
    return Split(np.asarray(inputs, np.int16), np.asarray(labels, np.int64))


def test_every_task_has_the_largest_class_and_one_more():
    for name in task_names():
        shortcuts = load_spec(name).shortcuts
        assert shortcuts[0] is MAJORITY
        assert len(shortcuts) > 1
        assert len({each.name for each in shortcuts}) == len(shortcuts)


def test_majority_is_that_of_the_training_examples():
    train, test = split([[1], [1], [2]], [0, 4, 4]), split([[1], [1]], [0, 0])
    assert MAJORITY.predict(train, test).tolist() == [4, 4]


def test_first_token_sees_the_first_token_alone():
    predict = first_token("root", "").predict
    train = split([[1, 5], [1, 6], [1, 5], [2, 5]], [3, 3, 0, 2])
    assert predict(train, split([[1, 9], [2, 6], [7, 5]], [0, 0, 0])).tolist() == [3, 2, 3]


def test_counts_see_how_often_but_not_where():
    count = counts(4)
    assert count(np.array([[1, 2, 2, 0]])).tolist() == [[1, 2, 0]]
    assert count(np.array([[[1, 2], [3, 0]]])).tolist() == [[1, 1, 1]]
    generator = np.random.default_rng(0)
    inputs = generator.permuted(np.tile([1, 1, 2, 3], (400, 1)), axis=1)
    order = split(inputs, inputs[:, 0] == 1)  # decided by order: all bags are equal
    assert np.mean(regression("bag", "", count).predict(order, order) == order.labels) < 0.6


def test_a_first_token_decides_what_the_bag_means():
    generator = np.random.default_rng(0)
    inputs = generator.integers(1, 3, (300, 9))
    many = (inputs[:, 1:] == 2).sum(axis=1) > 4
    both = split(inputs, many ^ (inputs[:, 0] == 2))
    alone = regression("bag", "", counts(3)).predict(both, both) == both.labels
    together = by_first_token("root_bag", "", counts(3)).predict(both, both) == both.labels
    assert together.mean() > 0.95
    assert alone.mean() < 0.8


def test_pixels_are_seen_in_their_places():
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (200, 4))
    data = split(pictures, pictures[:, 2] > 127)
    found = regression("pixels", "", values).predict(data, data)
    assert np.mean(found == data.labels) > 0.95


@pytest.mark.parametrize("seen", [[0, 0], [1, 1]])
def test_a_single_class_is_predicted_without_learning(seen):
    data = split([[1], [2]], seen)
    assert regression("bag", "", counts(3)).predict(data, data).tolist() == seen
