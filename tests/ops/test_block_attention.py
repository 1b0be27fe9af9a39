import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from spion_bench.block_pattern import BlockPattern
from spion_bench.native import library
from spion_bench.ops import block_attention, reference
from tests.ops.cases import CASES, IMPLEMENTATIONS, PRUNED, Case, golden
from tests.ops.oracle import check_compiled, compare_attention

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_matches_the_oracle(case, pruned, dtype, implementation):
    compare_attention(case, dtype, implementation, pruned=pruned)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("name", ["holes", "full", "block_32", "one_head", "packed", "no_batch"])
def test_matches_the_oracle_with_padding_dropout_and_scale(name, pruned, implementation):
    case = CASES[name]
    compare_attention(
        case,
        torch.float32,
        implementation,
        pruned=pruned,
        scale=0.7,
        **case.padding_and_dropout(),
    )


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("pruned", PRUNED)
def test_accepts_a_strided_padding_mask(pruned, implementation):
    case = CASES["block_8"]
    mask = case.key_padding_mask().T.contiguous().T
    assert not mask.is_contiguous()
    compare_attention(case, torch.float64, implementation, pruned=pruned, key_padding_mask=mask)


@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize(
    ("padded", "dropout_p"), [(False, 0.0), (True, 0.0), (False, 0.25), (True, 0.25)]
)
def test_gradcheck(pruned, padded, dropout_p):
    case = Case(CASES["holes"].pattern, batch=1, heads=2, width=3)
    mask = None
    if padded:
        mask = torch.rand(1, case.pattern.length) > 0.3
    # The empty row has lse = +inf, which finite differences cannot take.
    finite = torch.ones(case.pattern.length, dtype=torch.bool)
    finite[case.pattern.block_size : 2 * case.pattern.block_size] = False

    def attend(q, k, v):
        out, lse = block_attention(
            q,
            k,
            v,
            case.pattern,
            pruned=pruned,
            key_padding_mask=mask,
            dropout_p=dropout_p,
            dropout_seed=3,
            return_lse=True,
        )
        return out, lse[..., finite]

    leaves = [x.requires_grad_() for x in case.inputs(torch.float64)]
    assert torch.autograd.gradcheck(attend, leaves, fast_mode=True)


@pytest.mark.parametrize("pruned", PRUNED)
def test_gradients_of_either_output_alone(pruned):
    case = CASES["block_8"]
    for output in (0, 1):
        leaves = [x.requires_grad_() for x in case.inputs(torch.float64)]
        options = {"pattern": case.pattern, "pruned": pruned}
        got = block_attention(*leaves, **options, return_lse=True)[output].square().sum()
        expected = reference.block_attention(*leaves, **options)[output].square().sum()
        got_grads = torch.autograd.grad(got, leaves[:2])
        expected_grads = torch.autograd.grad(expected, leaves[:2])
        torch.testing.assert_close(got_grads, expected_grads)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", ["block_8", "no_batch"])
def test_accepts_gradients_of_any_layout(name, implementation):
    case = CASES[name]
    options = {"pattern": case.pattern, "pruned": "minus_inf", "implementation": implementation}
    qkv = case.inputs(torch.float64)
    shape = qkv[0].shape
    layouts = {
        "expanded": torch.ones((), dtype=torch.float64).expand(shape),
        "transposed": torch.randn(*shape[:2], shape[3], shape[2], dtype=torch.float64).mT,
    }
    for dout in layouts.values():
        leaves = [x.requires_grad_() for x in qkv]
        out = block_attention(*leaves, **options)
        got = torch.autograd.grad(out, leaves, dout)
        out = block_attention(*leaves, **options)
        expected = torch.autograd.grad(out, leaves, torch.empty_like(out).copy_(dout))
        torch.testing.assert_close(got, expected)


def test_second_derivatives_are_refused():
    case = CASES["one_block"]
    leaves = [x.requires_grad_() for x in case.inputs(torch.float64)]
    out = block_attention(*leaves, case.pattern, pruned="minus_inf")
    (dq,) = torch.autograd.grad(out.square().sum(), leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match="block_attention_backward is not differentiable"):
        dq.sum().backward()


class OperatorsCalled(TorchDispatchMode):
    """Collects the names of the operators that run inside it."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_the_backward_pass_is_one_operator():
    case = CASES["block_8"]
    leaves = [x.requires_grad_() for x in case.inputs(torch.float32)]
    out = block_attention(*leaves, case.pattern, pruned="zero_logit")
    dout = torch.randn(out.shape)
    with OperatorsCalled() as called:
        torch.autograd.grad(out, leaves, dout)
    # Whatever else ran, for example to list the blocks by column, would be launches on a GPU.
    others = [name for name in called.names if not name.startswith("aten.detach")]
    assert others == ["spion_bench.block_attention_backward.default"]


@pytest.mark.parametrize("pruned", PRUNED)
@pytest.mark.parametrize("name", ["block_8", "no_batch"])
def test_opcheck(name, pruned):
    library.load()
    case = CASES[name]
    pattern, mask = case.pattern, case.key_padding_mask()
    q, k, v = case.inputs(torch.float32)
    options = (pattern.block_size, 1, False, pruned == "zero_logit", mask, 0.25, 0.1, 7)
    ops = torch.ops.spion_bench
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    torch.library.opcheck(
        ops.block_attention_forward.default, (*leaves, *pattern.index_tensors, *options)
    )

    out, lse = ops.block_attention_forward(q, k, v, *pattern.index_tensors, *options)
    for dlse in (None, torch.randn_like(lse)):
        torch.library.opcheck(
            ops.block_attention_backward.default,
            (torch.randn_like(out), dlse, q, k, v, out, lse, *pattern.index_tensors, *options),
        )


def duplicated(values, copies):
    """Repeat each token, so that a 4-token block fits the smallest block size of 8.

    With every key, value and query present twice, both conventions of the softmax give every copy
    the original's output: numerator and denominator double alike.
    """
    return torch.tensor(values, dtype=torch.float64).repeat_interleave(copies, dim=0)[None, None]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("padded", [False, True])
def test_golden_16_token_attention(padded, implementation):
    case = golden("attention_16_unmasked")
    given_values, expected = case["inputs"], case["expected"]
    pattern = BlockPattern.from_mask(torch.tensor(given_values["block_mask"]), 8)
    q, k, v = (duplicated(given_values[name], 2).requires_grad_() for name in "QKV")
    g = torch.tensor(given_values["G"], dtype=torch.float64)
    dout = torch.zeros(1, 1, 32, 4, dtype=torch.float64)
    dout[0, 0, ::2] = g  # the loss sees one of the two copies of each query
    mask = (torch.arange(32)[None] < 22) if padded else None  # tokens 11 to 15 are padding
    out = block_attention(
        q,
        k,
        v,
        pattern,
        pruned="zero_logit",
        key_padding_mask=mask,
        implementation=implementation,
    )
    dq, dk, dv = torch.autograd.grad(out, (q, k, v), dout)
    merged = {
        "out": out[0, 0, ::2],
        "dQ": dq[0, 0].unflatten(0, (16, 2)).sum(1),
        "dK": dk[0, 0].unflatten(0, (16, 2)).sum(1),
        "dV": dv[0, 0].unflatten(0, (16, 2)).sum(1),
    }
    loss = (out * dout).sum().item()
    torch.testing.assert_close(out[0, 0, ::2], out[0, 0, 1::2])
    if padded:  # of this variant only single rows were recorded
        assert loss == pytest.approx(-1.967655, abs=2e-6)
        rows = {
            "out": [-0.084787, -0.238186, 0.080535, 0.026045],
            "dQ": [0.298723, 0.193228, 0.091772, -0.052927],
        }
        for name, row in rows.items():
            assert merged[name][0].tolist() == pytest.approx(row, abs=2e-6), name
        return
    assert loss == pytest.approx(-0.458621, abs=2e-6)
    for name, value in merged.items():
        torch.testing.assert_close(
            value,
            torch.tensor(expected[name], dtype=torch.float64),
            rtol=0,
            atol=case["tolerance"],
            msg=lambda text, name=name: f"{name}: {text}",
        )


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_chooses_the_kernel(implementation, dtype):
    case = CASES["block_8"]
    leaves = [x.to(dtype).float().requires_grad_() for x in case.inputs(torch.float32)]
    options = {"pattern": case.pattern, "pruned": "zero_logit", "implementation": implementation}
    with torch.autocast("cpu", dtype=dtype):
        out, lse = block_attention(*leaves, **options, return_lse=True)
    computed = dtype if implementation == "fused" else torch.float32  # what its CPU kernels take
    expected = block_attention(*(x.to(computed) for x in leaves), **options)
    assert (out.dtype, lse.dtype) == (computed, torch.float32)
    assert torch.equal(out, expected)
    out.sum().backward()
    assert all(x.grad.dtype == torch.float32 for x in leaves)


# aot_eager traces forward and backward as inductor does, but compiles no code of its own.
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
# inductor itself imports something that torch has deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_compiles_without_graph_breaks(implementation, backend):
    check_compiled(CASES["block_8"], implementation, backend)
