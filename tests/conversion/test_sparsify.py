import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from spion_bench import generate_pattern, sparsify
from spion_bench.ops.reference import attention as reference
from tests.conversion.models import HEADS, LENGTH, SETTINGS, WIDTH, batch, converted, encoder, train

NAMES = ["layers.0.self_attn", "layers.1.self_attn"]


class OwnAttention(nn.Module):
    """A user's module that calls ``scaled_dot_product_attention`` itself, with ``options``."""

    def __init__(self, calls=1, key_heads=HEADS, **options):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, WIDTH + 2 * key_heads * WIDTH // HEADS)
        self.calls, self.key_heads, self.options = calls, key_heads, options

    def heads(self, x):
        parts = self.qkv(x).unflatten(-1, (-1, WIDTH // HEADS)).transpose(1, 2)
        return parts.split([HEADS, self.key_heads, self.key_heads], dim=1)

    def forward(self, x):
        q, k, v = self.heads(x)
        for _ in range(self.calls):
            out = F.scaled_dot_product_attention(q, k, v, **self.options)
        return out.transpose(1, 2).flatten(2)


class Wrapped(nn.Module):
    def __init__(self, **options):
        super().__init__()
        torch.manual_seed(0)
        self.attention = OwnAttention(**options)

    def forward(self, x):
        return self.attention(x)


def test_a_dense_layer_computes_what_it_computed_before():
    plain, (model, _) = encoder(dropout=0.3), converted(dropout=0.3)
    x, padding = batch()
    torch.manual_seed(3)
    expected = plain(x, src_key_padding_mask=padding)
    torch.manual_seed(3)
    assert torch.equal(model(x, src_key_padding_mask=padding), expected)
    assert list(model.state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_sparse_multihead_attention_equals_the_reference(batch_first, bias):
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(WIDTH, HEADS, bias=bias, batch_first=batch_first).double()
    controller = sparsify(attention, switch=1, **SETTINGS)
    x, padding = batch()
    x = x.double() if batch_first else x.double().transpose(0, 1)
    call = {"key_padding_mask": padding, "need_weights": False}
    dense = attention(x, x, x, **call)[0]
    controller.step()
    pattern = controller.patterns[""]
    assert 0 < pattern.density < 1

    sparse = attention(x, x, x, **call)[0]
    rows = x if batch_first else x.transpose(0, 1)
    biases = [None] * 3 if attention.in_proj_bias is None else attention.in_proj_bias.chunk(3)
    weights = attention.in_proj_weight.chunk(3)
    q, k, v = (
        F.linear(rows, weight, bias).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        for weight, bias in zip(weights, biases, strict=True)
    )
    heads, _ = reference.block_attention(
        q, k, v, pattern, pruned="zero_logit", key_padding_mask=~padding
    )
    expected = attention.out_proj(heads.transpose(1, 2).flatten(2))
    expected = expected if batch_first else expected.transpose(0, 1)
    assert torch.allclose(sparse, expected, atol=1e-12)
    assert not torch.allclose(sparse, dense, atol=1e-3)


def own_attention_map(attention, x):
    """The map that ``attention`` has of ``x``, in plain PyTorch."""
    q, k, _ = attention.heads(x)
    k = k.repeat_interleave(HEADS // attention.key_heads, dim=1)
    scores = attention.options.get("scale", (WIDTH // HEADS) ** -0.5) * q @ k.mT
    if attention.options.get("is_causal"):
        later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    return torch.softmax(scores, dim=-1).mean((0, 1)).detach()


@pytest.mark.parametrize("length", [LENGTH, LENGTH - 5])
@pytest.mark.parametrize(
    "options",
    [{"scale": 0.7}, {"is_causal": True}, {"key_heads": 2, "enable_gqa": True}],
    ids=["scale", "causal", "grouped"],
)
def test_a_named_module_keeps_its_own_way_to_attend(options, length):
    model = Wrapped(**options).double()
    controller = sparsify(model, modules=["attention"], switch=1, **SETTINGS)
    x = batch()[0][:, :length].double()
    assert torch.equal(model(x), Wrapped(**options).double()(x))
    controller.step()

    attention_map = own_attention_map(model.attention, x)
    padded = F.pad(attention_map, (0, LENGTH - length, 0, LENGTH - length))
    pattern = generate_pattern(padded, variant="CF", **SETTINGS)
    causal = options.get("is_causal", False)
    pattern = pattern.lower_triangle() if causal else pattern
    assert controller.patterns == {"attention": pattern}

    for tokens in (x, x[:, : length - 9]):
        expected, _ = reference.block_attention(
            *model.attention.heads(tokens),
            pattern,
            pruned="zero_logit",
            causal=causal,
            scale=options.get("scale"),
        )
        assert torch.allclose(model(tokens), expected.transpose(1, 2).flatten(2), atol=1e-12)
    with pytest.raises(ValueError, match="pattern"):
        model(torch.ones(1, LENGTH + 1, WIDTH).double())


def test_a_mask_of_keys_is_key_padding_and_any_other_is_refused():
    keys = torch.ones(LENGTH, dtype=torch.bool)
    keys[40:] = False
    as_float = torch.zeros(LENGTH).masked_fill(~keys, -torch.inf)
    outputs = []
    for mask in (keys, as_float, keys.expand(LENGTH, -1)):
        mask = mask.reshape(1, 1, -1, LENGTH)
        model = Wrapped(attn_mask=mask)
        controller = sparsify(model, modules=["attention"], switch=1, **SETTINGS)
        model(batch()[0])
        controller.step()
        outputs.append(model(batch()[0]))
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])

    for mask in (torch.eye(LENGTH, dtype=torch.bool)[None, None], as_float[None, None, None] - 1.5):
        model = Wrapped(attn_mask=mask)
        sparsify(model, modules=["attention"], switch=1, **SETTINGS)
        with pytest.raises(ValueError, match=r"attention: attn_mask.* (key padding|add to scores)"):
            model(batch()[0])


@pytest.mark.parametrize("calls", [0, 2])
def test_a_module_that_does_not_call_its_attention_once_is_refused(calls):
    model = Wrapped(calls=1)
    sparsify(model, modules=["attention"], switch=1, **SETTINGS)
    model.attention.calls = calls
    model.attention.forward = (lambda x: x) if calls == 0 else model.attention.forward
    with pytest.raises(RuntimeError, match=f"expected one call .* got {calls}"):
        model(batch()[0])


def test_an_error_inside_the_model_comes_through_and_leaves_nothing_behind():
    model = Wrapped()
    sparsify(model, modules=["attention"], switch=1, **SETTINGS)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        model(torch.ones(2, LENGTH, WIDTH + 1))
    q = torch.ones(1, 1, 3, 4)
    assert F.scaled_dot_product_attention(q, q, q).shape == q.shape
    assert model(batch()[0]).shape == batch()[0].shape


def test_evaluation_is_sparse_too_also_where_torch_has_a_fused_path():
    model, controller = converted()
    train(model, controller, 2)
    x, padding = batch()
    model.eval()
    with torch.no_grad():
        sparse = model(x, src_key_padding_mask=padding)
        for name in NAMES:
            model.get_submodule(name).spion.pattern = None
        assert not torch.allclose(sparse, model(x, src_key_padding_mask=padding), atol=1e-4)


def test_attention_dropout_is_applied_and_repeats_with_the_seed():
    model, controller = converted(dropout=0.5)
    train(model, controller, 2)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # leaves the dropout of attention probabilities alone
    x, _ = batch()
    outputs = []
    for seed in (4, 4, 5):
        torch.manual_seed(seed)
        outputs.append(model(x))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    model.eval()
    assert torch.equal(model(x), model(x))


def test_a_copy_of_a_converted_model_is_a_model_of_its_own():
    model, controller = converted()
    train(model, controller, 2)
    copied = copy.deepcopy(model)
    x, _ = batch()
    expected = model(x)
    assert torch.equal(copied(x), expected)
    copied.layers[0].self_attn.spion.pattern = None
    assert not torch.equal(copied(x), expected)
    assert torch.equal(model(x), expected)


def test_a_compiled_model_computes_the_same_before_and_after_the_switch():
    model, controller = converted()
    compiled = torch.compile(model, backend="aot_eager")
    x, padding = batch()
    for _ in range(2):
        expected = model(x, src_key_padding_mask=padding)
        assert torch.allclose(compiled(x, src_key_padding_mask=padding), expected, atol=1e-6)
        train(model, controller, 2)
    assert controller.phase == "sparse"


def test_what_multihead_attention_cannot_do_sparsely_is_refused_at_once():
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    sparsify(attention, switch=1, **SETTINGS)
    x = batch()[0]
    with pytest.raises(ValueError, match="need_weights=False"):
        attention(x, x, x)
    with pytest.raises(ValueError, match="no attn_mask"):
        attention(x, x, x, need_weights=False, attn_mask=torch.zeros(LENGTH, LENGTH))
    with pytest.raises(ValueError, match="self-attention"):
        attention(x, x[:, :32], x[:, :32], need_weights=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"switch": "joint"}, "observe_every: expected a number of steps"),
        ({"switch": "never"}, "switch: expected 'joint'"),
        ({"switch": 0}, "switch: expected 'joint'"),
        ({"switch": 1, "latest_step": 0}, "latest_step: expected a positive"),
        ({"switch": "by_hand", "observe_every": 2}, "observe_every: expected None"),
        ({"switch": 1, "block_size": 12}, "block_size"),
        ({"switch": 1, "quantile": 1.5}, "quantile"),
        ({"switch": True}, "switch: expected 'joint'"),
        ({"switch": "by_hand", "latest_step": np.int64(5)}, "latest_step: expected a positive int"),
        ({"switch": 1, "modules": "layers"}, "modules: expected a list of names, got the text"),
        ({"switch": 1, "modules": ["layers.7"]}, r"modules: .* \['layers.7'\]"),
    ],
)
def test_arguments_are_checked_before_the_model_is_touched(arguments, message):
    model = encoder()
    with pytest.raises(ValueError, match=message):
        sparsify(model, **arguments)
    assert not any(hasattr(module, "spion") for module in model.modules())


def test_a_model_without_attention_and_a_converted_one_are_refused():
    with pytest.raises(ValueError, match="the modules that call"):
        sparsify(nn.Linear(2, 2), switch=1)
    model, _ = converted()
    with pytest.raises(ValueError, match="converted already"):
        sparsify(model, switch=1)


def test_a_float_mask_that_adds_to_scores_is_refused_in_the_dense_phase_too():
    model, _ = converted()
    with pytest.raises(ValueError, match="values that add to scores"):
        model(batch()[0], src_key_padding_mask=torch.full((3, LENGTH), -0.5))


def test_checkpointed_activations_are_computed_again_while_watched():
    model, controller = converted(switch=1)
    x, padding = batch()
    x.requires_grad_()
    for _ in range(2):  # watched, then sparse
        out = x
        for layer in model.layers:
            out = checkpoint(layer, out, None, padding, use_reentrant=False)
        out.square().mean().backward()
        controller.step()
    assert controller.phase == "sparse"


def test_cross_attention_of_a_decoder_is_left_alone():
    model = nn.Transformer(WIDTH, HEADS, 1, 1, WIDTH, batch_first=True)
    controller = sparsify(model, switch=1, **SETTINGS)
    assert list(controller.layers) == [
        f"{part}.layers.0.self_attn" for part in ("encoder", "decoder")
    ]
