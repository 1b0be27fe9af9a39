"""Comparison of block_attention, forward and backward: with the float64 oracle, and compiled."""

import torch

from spion_bench.ops import block_attention, reference
from tests.budgets import assert_within_budget

NAMES = ("out", "lse", "dq", "dk", "dv")


def forward_backward(attend, qkv, dout, dlse, **options):
    """Return out, lse, dq, dk, dv of one implementation."""
    leaves = [x.detach().requires_grad_() for x in qkv]
    out, lse = attend(*leaves, **options)
    grads = torch.autograd.grad((out, lse), leaves, (dout, dlse))
    return out.detach(), lse.detach(), *grads


def compare_attention(case, dtype, implementation="fused", run=forward_backward, **options):
    """Check out, lse and all gradients of a case, as ``run`` finds them, against the oracle."""
    qkv = case.inputs(dtype)
    dout = torch.randn(qkv[0].shape).to(dtype)
    dlse = torch.randn(qkv[0].shape[:3]).to(torch.promote_types(dtype, torch.float32))
    got = run(
        block_attention,
        qkv,
        dout,
        dlse,
        pattern=case.pattern,
        implementation=implementation,
        return_lse=True,
        **options,
    )
    expect = [
        forward_backward(
            reference.block_attention,
            [x.to(d) for x in qkv],
            dout.to(d),
            dlse.to(d),
            pattern=case.pattern,
            **options,
        )
        for d in (dtype, torch.float64)
    ]
    largest = _largest_score(*qkv[:2], options.get("scale"))
    for name, g, ref, oracle in zip(NAMES, got, *expect, strict=True):
        assert_within_budget(name, g, ref.to(g.dtype), oracle, largest_score=largest)


def _largest_score(q, k, scale):
    """Return the largest absolute score, kept or not; 0 of an empty batch."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    k = k.repeat_interleave(q.shape[1] // max(k.shape[1], 1), dim=1)
    scores = (scale * (q.double() @ k.double().mT)).abs()
    return scores.max().item() if scores.numel() else 0.0


def check_compiled(case, implementation, backend, device="cpu"):
    """Check that torch.compile takes a layer as one graph and changes none of its results."""
    pattern, mask = case.pattern.to(device), case.key_padding_mask().to(device)
    options = {"pruned": "zero_logit", "key_padding_mask": mask, "implementation": implementation}

    def layer(q, k, v):
        return block_attention(2 * q, k, v, pattern, **options).sin()

    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    leaves = [x.to(device).requires_grad_() for x in case.inputs(torch.float32)]
    results = []
    for run in (layer, compiled):
        out = run(*leaves)
        results.append((out, *torch.autograd.grad(out.sum(), leaves)))
    torch.testing.assert_close(results[0], results[1])
