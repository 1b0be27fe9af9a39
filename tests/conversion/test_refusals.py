"""What the sparse phase cannot do is refused before the dense phase begins."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from spion_bench import sparsify
from spion_bench.kernel_limits import LIMITS
from spion_bench.native import library
from tests.conversion.models import LENGTH, SETTINGS, batch, converted, encoder, train


class Calls(nn.Module):
    """Calls attention with what it is called with."""

    def forward(self, q, k=None, v=None, **options):
        return F.scaled_dot_product_attention(
            q, q if k is None else k, q if v is None else v, **options
        )


def attending(**settings):
    model = nn.Sequential(Calls())
    return model, sparsify(model, modules=["0"], **{**SETTINGS, "switch": 1000, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "D"}, "variant: expected one of C, F, CF, got 'D'"),
        ({"filter_size": 30}, "filter_size"),
        ({"variant": "C", "density": 0.0}, "density"),
    ],
)
def test_a_setting_is_refused_by_sparsify_and_the_model_untouched(settings, message):
    model = encoder()
    with pytest.raises(ValueError, match=message):
        sparsify(model, switch=1000, **{**SETTINGS, **settings})
    assert not any(hasattr(module, "spion") for module in model.modules())


def test_kernels_that_cannot_be_built_are_refused_by_sparsify(monkeypatch):
    def load(device="cpu"):
        raise library.BuildError("no C++ compiler")

    monkeypatch.setattr(library, "load", load)
    with pytest.raises(library.BuildError, match="no C"):
        sparsify(encoder(), switch=1000, **SETTINGS)


HEADS = (2, 2, LENGTH, 8)
WRONG = [
    ({"q": (2, 2, LENGTH, 300)}, "head width D from 1 to 256 on CPU, got 300"),
    ({"q": (2, LENGTH, 8)}, r"expected q \[B, H, L, D\], got shape \[2, 64, 8\]"),
    ({"q": HEADS, "v": (2, 2, LENGTH, 4)}, "v: expected shape"),
    ({"q": HEADS, "k": (1, 2, LENGTH, 8), "v": (1, 2, LENGTH, 8)}, r"k: expected \[B=2"),
    ({"q": HEADS, "dropout_p": 1.0}, "dropout_p"),
    ({"q": HEADS, "scale": float("inf")}, "scale: expected a finite number"),
]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("call", "message"), WRONG)
def test_a_call_is_refused_at_the_first_forward_pass(call, message, training):
    model, _ = attending()
    if not training:  # what evaluation asks for may be new
        model(torch.zeros(HEADS))
    model.train(training)
    given = {n: torch.zeros(x) if isinstance(x, tuple) else x for n, x in call.items()}
    with pytest.raises(ValueError, match=message):
        model[0](**given)


@pytest.mark.parametrize(
    ("settings", "width", "message"),
    [({}, 8, "expected blocks of 16.* on CUDA, got 8"), ({"block_size": 16}, 200, "head width D")],
)
def test_the_limits_of_the_device_count(settings, width, message, monkeypatch):
    monkeypatch.setattr(library, "limits", lambda device: LIMITS["cuda"])
    model, _ = attending(**settings)
    with pytest.raises(ValueError, match=message):
        model(torch.zeros(1, 2, LENGTH, width))


def test_a_compiled_model_is_refused_at_the_first_step():
    model, controller = attending()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    compiled(torch.zeros(2, 2, LENGTH, 300))
    with pytest.raises(ValueError, match=r"0: the sparse phase cannot do this: .* got 300"):
        controller.step()


def test_a_compiled_mask_that_is_no_key_padding_is_refused_too():
    torch._dynamo.reset()
    model, _ = attending()
    compiled = torch.compile(model[0], backend="aot_eager", fullgraph=True)
    q = torch.zeros(HEADS)
    keys = torch.ones(1, 1, 1, LENGTH, dtype=torch.bool)
    assert torch.equal(compiled(q, attn_mask=keys), q)
    with pytest.raises(RuntimeError, match="attn_mask differs between queries"):
        compiled(q, attn_mask=keys.expand(1, 1, LENGTH, LENGTH).tril())


def test_sequences_of_another_length_are_refused_as_soon_as_they_come():
    model, controller = converted(switch=1000)
    train(model, controller, 1)
    x, _ = batch()
    for wrong in (x[:, :40], torch.cat([x, x], dim=1)):
        with pytest.raises(ValueError, match=f"sequences of {LENGTH} tokens .* pad all"):
            model(wrong)
    model.eval()
    model(x[:, :40])
    with pytest.raises(ValueError, match=f"sequences of at most {LENGTH} tokens"):
        model(torch.cat([x, x], dim=1))


def test_a_controller_of_another_model_says_so_at_the_first_step():
    model, controller = converted(switch="joint", observe_every=1000)
    copied = copy.deepcopy(model)
    copied(batch()[0])
    with pytest.raises(RuntimeError, match=r"no forward pass .* the very one that is trained"):
        controller.step()


def test_data_parallel_is_refused():
    model, _ = attending()
    model[0]._modules["spion"]._is_replica = True  # as nn.DataParallel marks its copies
    with pytest.raises(ValueError, match="use DistributedDataParallel"):
        model(torch.zeros(HEADS))


def test_a_rehearsal_draws_nothing_and_leaves_gradients_alone():
    model, _ = attending()
    q = torch.randn(HEADS, requires_grad=True)
    state = torch.get_rng_state()
    out = model[0](q, dropout_p=0.0)
    assert torch.equal(torch.get_rng_state(), state)
    (got,) = torch.autograd.grad(out.square().sum(), q)
    (expected,) = torch.autograd.grad(Calls()(q).square().sum(), q)
    assert torch.equal(got, expected)


def test_heads_in_any_layout_are_taken():
    outs = []
    for x in (torch.randn(HEADS), None):
        x = outs[0][0].mT.contiguous().mT if x is None else x
        model, controller = attending(switch=1)
        model(x)
        controller.step()
        outs.append((x, model(x)))
    assert outs[1][0].stride(3) != 1
    assert torch.equal(outs[0][1], outs[1][1])
