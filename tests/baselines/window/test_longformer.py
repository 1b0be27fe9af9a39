import importlib.util

import pytest
import torch

from baselines.hugging_face.longformer import LongformerHF
from baselines.window.longformer import Longformer
from tests.baselines.oracle import assert_exact, draw, padding


def mask_by_hand(length, window, n_global, dilation=1):
    keep = torch.zeros(length, length, dtype=torch.bool)
    for i in range(length):
        for step in range(-window // 2, window // 2 + 1):
            if 0 <= i + step * dilation < length:
                keep[i, i + step * dilation] = True
    keep[:n_global] = True
    keep[:, :n_global] = True
    return keep


@pytest.mark.parametrize(("length", "window"), [(96, 32), (150, 6), (70, 512)])
@pytest.mark.parametrize("n_global", [0, 1, 20])
@pytest.mark.parametrize("is_padded", [False, True])
def test_it_is_exact_over_window_and_global_tokens(length, window, n_global, is_padded):
    mask = padding(length, length, length // 3) if is_padded else None
    attention = Longformer(window, n_global)
    keep = mask_by_hand(length, window, n_global)
    assert_exact(attention, length, keep, mask)
    assert torch.equal(attention.token_mask(length, 3), keep)


@pytest.mark.parametrize("n_global", [0, 5])
@pytest.mark.parametrize(("length", "dilation"), [(96, 2), (131, 3)])
def test_dilated_heads_are_exact(n_global, length, dilation):
    attention = Longformer(16, n_global, dilation=dilation, dilated_heads=2)
    plain = mask_by_hand(length, 16, n_global)
    dilated = mask_by_hand(length, 16, n_global, dilation)
    keep = torch.stack([plain, dilated, dilated])
    assert_exact(attention, length, keep, padding(length, length, 50))
    assert torch.equal(attention.token_mask(length, 3), keep)
    assert attention.n_scores(length, 3) == keep.sum()


def test_all_heads_may_be_dilated_in_upper_layers_only():
    upper = Longformer(8, 0, dilation=2, dilated_heads=3, dilated_from_layer=1, layer=1)
    lower = Longformer(8, 0, dilation=2, dilated_heads=3, dilated_from_layer=1, layer=0)
    assert_exact(upper, 64, mask_by_hand(64, 8, 0, 2))
    assert_exact(lower, 64, mask_by_hand(64, 8, 0))


def test_more_global_tokens_than_tokens_is_dense():
    assert_exact(Longformer(2, n_global=50), 20, torch.ones(20, 20, dtype=torch.bool))


@pytest.mark.parametrize(
    ("name", "value"), [("window", 3), ("n_global", -1), ("dilation", 0), ("dilated_heads", -1)]
)
def test_wrong_arguments_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected"):
        Longformer(**{name: value})


@pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None,
    reason="transformers is not installed; pip install 'spion_bench[hf]'",
)
@pytest.mark.parametrize("n_global", [0, 2])
def test_it_is_hugging_faces_function_but_for_rows_of_padding(n_global):
    q, k, v = (x.detach().float() for x in draw(64))
    mask = padding(64, 64, 40)
    ours = Longformer(16, n_global)(q, k, v, mask)
    theirs = LongformerHF(16, n_global)(q, k, v, mask)
    real = mask[:, None, :, None].expand_as(ours)
    torch.testing.assert_close(ours[real], theirs[real])
