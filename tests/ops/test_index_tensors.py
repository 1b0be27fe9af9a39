"""No list of blocks that is none reaches a CPU kernel through ``torch.ops``."""

import pytest
import torch

from spion_bench.native import library
from tests.ops.index_cases import CALLS, WILD, read_lists


def test_every_operator_with_lists_is_called():
    library.load()
    schemas = [getattr(torch.ops.spion_bench, name).default._schema for name in library.OPERATORS]
    with_lists = [s.name for s in schemas if any("crow" in a.name for a in s.arguments)]
    assert with_lists == [f"spion_bench::{name}" for name in CALLS]


@pytest.mark.parametrize("wild", WILD)
@pytest.mark.parametrize("name", CALLS)
def test_wild_lists_never_reach_a_kernel(name, wild):
    operator = library.operator(name)
    operator(**CALLS[name])
    for words in read_lists(name, "cpu"):
        changed = CALLS[name] | {words: WILD[wild](CALLS[name][words])}
        with pytest.raises(RuntimeError, match=r"\w: expected "):
            operator(**changed)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("first", [[2, 0], [2, 2]])
def test_columns_ascend_within_a_row(name, first):
    for words in {"col_indices", "t_row_indices"}.intersection(read_lists(name, "cpu")):
        values = torch.tensor([*first, 2, 2], dtype=torch.int32)
        with pytest.raises(RuntimeError, match=f"{words}: expected strictly ascending"):
            library.operator(name)(**CALLS[name] | {words: values})


@pytest.mark.parametrize("name", ["block_softmax_backward", "block_dropout"])
def test_no_tiles_end_at_once_however_many_batch_items(name):
    none = torch.empty(2**40, 1, 0, 16, 16)
    changes = {"probs": none, "dprobs": none, "dlse": None}
    changes |= {
        "crow_indices": torch.zeros(4, dtype=torch.int32),
        "col_indices": torch.zeros(0, dtype=torch.int32),
    }
    arguments = {word: changes.get(word, value) for word, value in CALLS[name].items()}
    assert library.operator(name)(**arguments).shape == none.shape
