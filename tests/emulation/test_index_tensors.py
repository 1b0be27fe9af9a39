"""No list of blocks that is none reaches an emulated kernel, as on the CPU."""

import pytest

from tests.emulation.pipeline_cases import operators
from tests.ops.index_cases import CALLS, COL, WILD, read_lists


def refuse(name, kinds):
    operator = getattr(operators(), name)
    operator(**CALLS[name])
    for kind in kinds:
        for words in read_lists(name, "emulated"):
            with pytest.raises(RuntimeError, match=r"\w: expected "):
                operator(**CALLS[name] | {words: WILD[kind](CALLS[name][words])})


@pytest.mark.parametrize("name", CALLS)
def test_lists_that_are_none_are_refused(name):
    refuse(name, WILD)


@pytest.mark.parametrize("name", CALLS)
def test_lists_of_the_wrong_form_are_refused(name):
    refuse(name, ("int64", "strided", "two_dimensions"))


def test_lists_of_other_blocks_are_refused():
    call = CALLS["block_attention_backward"]
    with pytest.raises(RuntimeError, match="t_tile_indices: expected the blocks of crow_indices"):
        operators().block_attention_backward(**call | {"t_tile_indices": COL.flip(0)})
