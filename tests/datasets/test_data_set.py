from __future__ import annotations

import dataclasses

import pytest

from spion_bench.datasets.data_set import Unpacking, choose_parts
from spion_bench.records.names import UsageError
from tests.datasets.test_fetch import one_file

ARCHIVE = dataclasses.replace(one_file(), unpacking=Unpacking({"a": "x/a", "bee": "x/b"}, 1, 1))


def test_no_part_named_means_all() -> None:
    assert choose_parts(ARCHIVE, ()) == {"a": "x/a", "bee": "x/b"}
    assert choose_parts(ARCHIVE, ("bee",)) == {"bee": "x/b"}


def test_an_unknown_part_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown one part 'beee': did you mean 'bee'"):
        choose_parts(ARCHIVE, ("beee",))


def test_a_data_set_that_is_not_unpacked_has_no_parts() -> None:
    assert choose_parts(one_file(), ()) == {}
    with pytest.raises(UsageError, match="has no part 'train': it is not unpacked; leave out"):
        choose_parts(one_file(), ("train",))
