import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spion_bench.train.data import EpochOrder, to_batch
from tests.train.tiny import split


@given(
    n=st.integers(1, 30), batch=st.integers(1, 70), seed=st.integers(0, 9), steps=st.integers(1, 9)
)
def test_every_example_is_seen_once_per_epoch(n, batch, seed, steps):
    order = EpochOrder(n, batch, seed)
    batches = [order.indices(step) for step in range(steps)]
    assert all(len(chosen) == batch for chosen in batches)
    stream = np.concatenate(batches)
    for start in range(0, len(stream) - n + 1, n):
        assert sorted(stream[start : start + n]) == list(range(n))


def test_a_batch_depends_on_nothing_but_seed_and_step():
    order = EpochOrder(10, 4, seed=3)
    torch.manual_seed(0)
    np.random.seed(0)
    forwards = [order.indices(step) for step in range(6)]
    before = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    fresh = EpochOrder(10, 4, seed=3)
    backwards = [fresh.indices(step) for step in reversed(range(6))]
    assert (torch.rand(1), np.random.rand()) == before
    for one, other in zip(forwards, reversed(backwards), strict=True):
        assert np.array_equal(one, other)


def test_epochs_and_seeds_shuffle_differently():
    order = EpochOrder(50, 50, seed=3)
    assert not np.array_equal(order.indices(0), order.indices(1))
    assert not np.array_equal(order.indices(0), EpochOrder(50, 50, seed=4).indices(0))


def test_position():
    order = EpochOrder(10, 4, seed=0)
    assert [order.position(step) for step in (0, 1, 2, 3)] == [(0, 0), (0, 4), (0, 8), (1, 2)]


def test_no_examples():
    with pytest.raises(ValueError, match="n_examples: expected at least one"):
        EpochOrder(0, 4, seed=0)


def test_batches_are_int64():
    data = split(6, seed=0)
    inputs, labels = to_batch(data, np.array([4, 1]), torch.device("cpu"))
    assert inputs.dtype == labels.dtype == torch.int64
    assert np.array_equal(inputs.numpy(), data.inputs[[4, 1]])
    assert np.array_equal(labels.numpy(), data.labels[[4, 1]])
    assert len(to_batch(data, slice(4, 8), torch.device("cpu"))[1]) == 2
