"""What users wrap around the operator: torch.func, compilation, export, checkpoints."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch.autograd import forward_ad
from torch.func import grad, jacrev, jvp, vjp, vmap
from torch.utils.checkpoint import checkpoint

from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import SpionAttention
from spion_bench.ops import block_attention, block_softmax
from tests.ops.cases import IMPLEMENTATIONS, random_pattern

PATTERN = random_pattern(4, 8, 0.4)
OPTIONS = {"pruned": "zero_logit", "dropout_p": 0.3, "dropout_seed": 3}


def inputs(*batch):
    generator = torch.Generator().manual_seed(0)
    shape = (*batch, 2, 2, PATTERN.length, 4)
    return tuple(torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(3))


def attend(q, k, v, implementation="fused"):
    return block_attention(q, k, v, PATTERN, implementation=implementation, **OPTIONS)


def gradients(q, k, v, implementation="fused"):
    leaves = [x.detach().clone().requires_grad_() for x in (q, k, v)]
    return torch.autograd.grad(attend(*leaves, implementation).square().sum(), leaves)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_func_grad_and_vjp(implementation):
    def loss(q, k, v):
        return attend(q, k, v, implementation).square().sum()

    qkv = inputs()
    expected = gradients(*qkv, implementation)
    torch.testing.assert_close(grad(loss, argnums=(0, 1, 2))(*qkv), expected)
    out, pull = vjp(lambda *x: attend(*x, implementation), *qkv)
    assert torch.equal(out, attend(*qkv, implementation))
    torch.testing.assert_close(pull(2 * out), expected)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_func_vmap_is_one_call_for_each(implementation):
    q, k, v = inputs(3)
    out = vmap(lambda q, v: attend(q, k[0], v, implementation), in_dims=(1, 0), out_dims=2)(
        q.movedim(0, 1), v
    )
    for i in range(3):
        assert torch.equal(out[:, :, i], attend(q[i], k[0], v[i], implementation))


def test_func_gradients_of_each_example():
    qkv = inputs(3)
    got = vmap(grad(lambda *x: attend(*x).square().sum(), argnums=(0, 1, 2)))(*qkv)
    outside = grad(lambda q: vmap(attend)(q, *qkv[1:]).square().sum())(qkv[0])
    for i in range(3):
        expected = gradients(*(x[i] for x in qkv))
        torch.testing.assert_close(tuple(x[i] for x in got), expected)
        torch.testing.assert_close(outside[i], expected[0])


def test_func_jacrev():
    q, k, v = (x[:1, :1] for x in inputs())
    jacobian = jacrev(lambda q: attend(q, k, v).sum((0, 1, 2)))(q)
    assert jacobian.shape == (4, *q.shape)
    for column in range(4):
        leaf = q.clone().requires_grad_()
        (expected,) = torch.autograd.grad(attend(leaf, k, v)[..., column].sum(), leaf)
        torch.testing.assert_close(jacobian[column], expected)


# torch's own tables of derivatives are scripted, which torch has deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_forward_mode_is_refused_not_zero():
    q, k, v = inputs()
    message = "block_attention_forward has no forward-mode derivative; take the reverse mode"
    with pytest.raises(NotImplementedError, match=message):
        jvp(lambda q: attend(q, k, v), (q,), (q,))
    with forward_ad.dual_level():
        with pytest.raises(NotImplementedError, match=message):
            attend(q, forward_ad.make_dual(k, k), v)
        tiles = torch.zeros(1, 1, PATTERN.nnzb, 8, 8)
        tiles = forward_ad.make_dual(tiles, tiles + 1)
        with pytest.raises(NotImplementedError, match="block_softmax has no forward-mode"):
            block_softmax(tiles, PATTERN, pruned="minus_inf")
        assert torch.equal(attend(q, k, v), attend(q, k, v))  # nothing to differentiate


def test_second_derivatives_are_refused_by_func_too():
    q, k, v = inputs()
    loss = grad(lambda q: attend(q, k, v).square().sum())
    with pytest.raises(RuntimeError, match="block_attention_backward is not differentiable"):
        grad(lambda q: loss(q).sum())(q)


@pytest.fixture(autouse=True)
def _no_compiled_code():
    torch._dynamo.reset()


def test_compiles_once_for_any_batch_and_length():
    pattern = BlockPattern.band(128, 16, 1)
    compilations = CompileCounter()

    def layer(q, k, v):
        return block_attention(2 * q, k, v, pattern, pruned="zero_logit", causal=True).sin()

    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend=compilations)
    for batch, length in ((2, 128), (3, 128), (5, 96), (2, 77), (7, 33)):
        q, k, v = torch.randn(3, batch, 4, length, 8)
        assert torch.equal(compiled(q, k, v), layer(q, k, v))
    assert compilations.frame_count == 1


@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_twenty_seeds_do_not_recompile(implementation, dynamic):
    compilations = CompileCounter()

    def layer(q, seed):
        options = {"dropout_p": 0.4, "dropout_seed": seed, "implementation": implementation}
        return block_attention(q, q, q, PATTERN, pruned="minus_inf", **options) * 2

    compiled = torch.compile(layer, fullgraph=True, dynamic=dynamic, backend=compilations)
    q = inputs()[0]
    outs = {seed: compiled(q, seed) for seed in range(2**40, 2**40 + 20)}
    assert all(torch.equal(out, layer(q, seed)) for seed, out in outs.items())
    # Without dynamic=True, torch takes a number for a constant until it has seen a second one.
    assert compilations.frame_count == (1 if dynamic else 2)


def test_a_dynamic_training_step_compiles():
    pattern = BlockPattern.band(64, 16, 1)

    def layer(q, k, v, seed):
        options = {"dropout_p": 0.2, "dropout_seed": seed, "causal": True}
        return block_attention(q, k, v, pattern, pruned="zero_logit", **options).square().sum()

    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    for batch, length, seed in ((2, 64, 7), (3, 50, 8)):
        leaves = [x.requires_grad_() for x in torch.randn(3, batch, 4, length, 8).unbind()]
        got = torch.autograd.grad(compiled(*leaves, seed), leaves)
        torch.testing.assert_close(got, torch.autograd.grad(layer(*leaves, seed), leaves))


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = SpionAttention("zero_logit", BlockPattern.band(64, 16, 1), causal=True)
        self.out = torch.nn.Linear(8, 8)

    def forward(self, x):
        return self.out(self.attention(x, x, x))


def test_exports_with_a_dynamic_batch_and_length():
    layer = Layer()
    x = torch.randn(2, 2, 48, 8)
    sizes = {0: torch.export.Dim("batch", max=64), 2: torch.export.Dim("length", min=2, max=64)}
    program = torch.export.export(layer, (x,), dynamic_shapes=(sizes,))
    for batch, length in ((2, 48), (5, 61)):
        x = torch.randn(batch, 2, length, 8)
        torch.testing.assert_close(program.module()(x), layer(x))


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_an_activation_checkpoint_changes_no_bit(use_reentrant):
    layer = Layer()
    x = torch.randn(2, 2, 50, 8)
    results = []
    for run in (layer, lambda x: checkpoint(layer, x, use_reentrant=use_reentrant)):
        leaf = x.clone().requires_grad_()
        out = run(leaf)
        out.square().sum().backward()
        results.append((out, leaf.grad))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
