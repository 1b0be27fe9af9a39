"""Cells that several processes train together, planned."""

import pytest

from spion_bench.records.names import UsageError
from spion_bench.suite.plan import Machine, expand, most_processes
from tests.cells import TINY


def test_several_processes_train_and_nothing_else():
    one, two = (expand(TINY, Machine("cpu", 2, processes=count)) for count in (1, 2))
    training = ("prefix", "accuracy")
    for before, after in zip(one, two, strict=True):
        is_training = after.pass_name in training
        assert getattr(after, "processes", 1) == (2 if is_training else 1)
        assert (after.key != before.key) == is_training
    assert most_processes(two) == 2
    by_key = {cell.key: cell for cell in two}
    for cell in two:
        if cell.pass_name == "accuracy":
            assert by_key[cell.parent].processes == 2


def test_a_batch_that_processes_cannot_share_equally_is_refused():
    expected = (
        "--processes-per-cell: expected a divisor of the 8 examples in a batch of image, got 3"
    )
    with pytest.raises(UsageError, match=expected):
        expand(TINY, Machine("cpu", 1, processes=3))
