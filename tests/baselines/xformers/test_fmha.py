import importlib.util
import math
from types import SimpleNamespace

import pytest
import torch

from baselines.xformers import fmha
from baselines.xformers.fmha import XformersFmha, XformersWindow
from spion_bench.model.attention import UnavailableError, UnsupportedError, dense_attention

LENGTH = 32

needs_xformers = pytest.mark.skipif(
    importlib.util.find_spec("xformers") is None,
    reason="xformers is not installed; pip install 'spion_bench[xformers]'",
)
every_method = pytest.mark.parametrize("method", [XformersFmha, XformersWindow])


class Window(SimpleNamespace):
    """Stands for xFormers' LocalAttentionFromBottomRightMask."""

    def __init__(self, left, right):
        super().__init__(left=left, right=right)


def plain_attention(q, k, v, attn_bias, op):
    """What ``memory_efficient_attention`` documents, on ``[B, L, H, D]``."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if isinstance(attn_bias, Window):
        offset = torch.arange(q.shape[2]) - torch.arange(q.shape[2])[:, None]
        outside = (offset < -attn_bias.left) | (offset > attn_bias.right)
        scores = scores.masked_fill(outside, -math.inf)
    elif attn_bias is not None:
        scores = scores + attn_bias
    return (scores.softmax(-1) @ v).transpose(1, 2)


@pytest.fixture
def stand_in(monkeypatch):
    """Replace xFormers' dispatch and kernels by plain PyTorch, to test what surrounds them."""
    library = SimpleNamespace(
        Inputs=SimpleNamespace,
        _dispatch_fw=lambda inputs, needs_gradient: SimpleNamespace(NAME="plainF"),
        _dispatch_bw=lambda inputs, packed: SimpleNamespace(NAME="plainB"),
        memory_efficient_attention=plain_attention,
        attn_bias=SimpleNamespace(LocalAttentionFromBottomRightMask=Window),
    )
    monkeypatch.setattr(fmha, "load_optional", lambda module, extra: library)
    monkeypatch.setattr(XformersFmha, "operators", set())


def inputs(dtype=torch.float32):
    return [torch.randn(2, 3, LENGTH, 8, dtype=dtype, requires_grad=True) for _ in "qkv"]


@pytest.mark.usefixtures("stand_in")
def test_exact_attention_with_and_without_padding():
    q, k, v = inputs(torch.float64)
    mask = torch.arange(LENGTH) < torch.tensor([[20], [LENGTH]])
    for given in (None, mask):
        out, expected = XformersFmha()(q, k, v, given), dense_attention(q, k, v, given)
        torch.testing.assert_close(out, expected)
        weight = torch.randn_like(out)
        torch.testing.assert_close(
            torch.autograd.grad(out, (q, k, v), weight),
            torch.autograd.grad(expected, (q, k, v), weight),
        )


@pytest.mark.usefixtures("stand_in")
def test_a_sequence_of_padding_gives_zeros_and_no_gradient():
    q, k, v = inputs()
    out = XformersFmha()(q, k, v, torch.tensor([[True], [False]]).expand(2, LENGTH))
    assert torch.equal(out[1], torch.zeros_like(out[1]))
    grads = torch.autograd.grad(out.sum(), (q, k, v))
    assert all(torch.equal(grad[1], torch.zeros_like(grad[1])) for grad in grads)


@pytest.mark.usefixtures("stand_in")
def test_the_window_computes_in_16_bits_and_returns_the_inputs_dtype():
    q, k, v = inputs()
    place = torch.arange(LENGTH)
    keep = (place[:, None] - place).abs() <= 4
    out = XformersWindow(window=8)(q, k, v)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=keep)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, expected, rtol=0.05, atol=0.05)
    assert torch.equal(out.bfloat16().float(), out)


@pytest.mark.usefixtures("stand_in")
def test_the_operators_that_ran_are_told():
    attention = XformersFmha()
    assert attention.details() == {}
    with torch.no_grad():
        attention(*(x.detach() for x in inputs()))
    assert attention.details() == {"operator": "plainF"}
    attention(*inputs())
    assert XformersFmha().details() == {"operator": "plainB, plainF"}


@pytest.mark.usefixtures("stand_in")
def test_the_label_says_where_torchs_operators_ran(monkeypatch):
    attention = XformersFmha()
    ran = SimpleNamespace(NAME="fa2F@2.5.7-pt")
    monkeypatch.setattr(attention._fmha, "_dispatch_fw", lambda inputs, needs_gradient: ran)
    attention(*inputs())
    assert attention.details() == {"operator": "fa2F@2.5.7-pt (PyTorch's), plainB"}


@pytest.mark.usefixtures("stand_in")
def test_a_window_with_padding_is_unsupported():
    with pytest.raises(UnsupportedError, match="window and a padding mask"):
        XformersWindow()(*inputs(), torch.ones(2, LENGTH, dtype=torch.bool))


@pytest.mark.usefixtures("stand_in")
def test_wrong_windows_are_named():
    with pytest.raises(ValueError, match="window: expected an even number"):
        XformersWindow(window=5)


@needs_xformers
@every_method
def test_on_the_cpu_xformers_refuses_in_its_own_words(method):
    attention = method()
    with pytest.raises(UnsupportedError, match=r"No operator found.*device=cpu"):
        attention(*inputs())
    assert "device=cpu" in attention.refusal("cpu")
    assert method.capabilities.devices == ("cuda",)


@needs_xformers
def test_xformers_window_is_the_suites_window():
    bias = XformersWindow(window=8).example_bias().materialize((LENGTH, LENGTH))
    place = torch.arange(LENGTH)
    assert torch.equal(bias.exp().bool(), (place[:, None] - place).abs() <= 4)


@pytest.mark.skipif(
    importlib.util.find_spec("xformers") is not None, reason="xformers is installed"
)
@every_method
def test_without_xformers_its_extra_is_named(method):
    with pytest.raises(UnavailableError, match=r"pip install 'spion_bench\[xformers\]'"):
        method()


@needs_xformers
@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_exact_attention_on_cuda():
    mask = (torch.arange(LENGTH) < torch.tensor([[20], [LENGTH]])).cuda()
    q, k, v = (x.detach().cuda().requires_grad_() for x in inputs())
    attention = XformersFmha()
    for given in (None, mask):
        out, expected = attention(q, k, v, given), dense_attention(q, k, v, given)
        torch.testing.assert_close(out, expected)
        torch.testing.assert_close(
            torch.autograd.grad(out.sum(), (q, k, v)),
            torch.autograd.grad(expected.sum(), (q, k, v)),
        )
    assert attention.details()["operator"]
