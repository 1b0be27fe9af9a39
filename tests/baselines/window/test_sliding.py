import pytest
import torch

from baselines.window import unfolded
from baselines.window.sliding import SlidingWindow
from tests.baselines.oracle import assert_exact, draw, padding


def band(length, per_side):
    place = torch.arange(length)
    return (place[:, None] - place).abs() <= per_side


@pytest.mark.parametrize(
    ("length", "window"),
    [(96, 32), (100, 6), (300, 130), (257, 100), (40, 512), (1, 2)],
    ids=["whole chunks", "small", "several chunks", "odd length", "window above L", "one token"],
)
@pytest.mark.parametrize("is_padded", [False, True])
def test_it_is_exact_over_its_band(length, window, is_padded):
    mask = padding(length, length, length // 3) if is_padded else None
    attention = SlidingWindow(window)
    keep = band(length, window // 2)
    assert_exact(attention, length, keep, mask)
    assert torch.equal(attention.token_mask(length, 3), keep)
    assert attention.n_scores(length, 3) == 3 * keep.sum()


def test_holes_in_the_padding_mask_are_padding():
    mask = torch.rand(2, 150) < 0.3
    mask[1, 40:120] = False
    assert_exact(SlidingWindow(20), 150, band(150, 10), mask)


@pytest.mark.parametrize("chunk", [1, 8, 33])
def test_chunks_do_not_change_the_result(monkeypatch, chunk):
    monkeypatch.setattr(unfolded, "CHUNK", chunk)
    assert_exact(SlidingWindow(40), 200, band(200, 20), padding(200, 200, 90))


def test_a_sequence_of_padding_gives_zeros_and_no_gradient():
    q, k, v = draw(64)
    out = SlidingWindow(16)(q, k, v, padding(64, 0, 64))
    assert not out[0].any()
    assert not any(grad[0].any() for grad in torch.autograd.grad(out.sum(), (q, k, v)))


def test_nan_is_not_hidden():
    q, k, v = (x.detach() for x in draw(64))
    k[0, 0, 10] = torch.nan
    assert SlidingWindow(16)(q, k, v)[0, 0, 2:19].isnan().all()


def test_views_of_the_projections_are_welcome():
    x = torch.randn(2, 70, 3, 8, dtype=torch.float64).transpose(1, 2)
    attention = SlidingWindow(8)
    assert torch.equal(attention(x, x, x), attention(*[x.contiguous()] * 3))


@pytest.mark.parametrize("window", [0, 7, -2])
def test_windows_are_even(window):
    with pytest.raises(ValueError, match="window: expected an even number"):
        SlidingWindow(window)
