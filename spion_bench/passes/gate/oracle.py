"""The gate: outputs and gradients against a float64 oracle.

The oracle of a block pattern gathers the kept blocks of one block row at a time. The method may err
at most twice as much as the plain-PyTorch reference does in float32, plus a rounding band. Methods
with a mask of their own are checked by ``gate_mask``, those that are not exact by
``gate_properties``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from spion_bench.block_pattern import BlockPattern
from spion_bench.literals import Precision, Pruned
from spion_bench.model.attention import Attention
from spion_bench.ops import reference
from spion_bench.records import GateError

# The band: this many float32 roundings of the largest value of the oracle. Blocked and unblocked
# sums of a few thousand terms differ by a handful of roundings.
BAND_ROUNDINGS = 16.0
RESULTS = ("out", "dq", "dk", "dv")

AttentionFunction = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class GateSetup:
    """What the gate draws its random inputs for, and how the method runs on them.

    Attributes:
        heads: Heads of the measured cell; at most two batch-heads are checked.
        length: Sequence length L in tokens.
        head_dim: Width of a head D.
        masked: Whether the measured cell passes a key padding mask.
        device: Where the method runs; oracles run on the CPU.
        dtype: In which the method computes.
        precision: In what the model that calls it computes, see ``in_precision``.
        forward_only: Whether the method has no backward pass to compare.
        seed: Seed of the inputs.
    """

    heads: int
    length: int
    head_dim: int
    masked: bool
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    precision: Precision = "float32"
    forward_only: bool = False
    seed: int = 0

    @property
    def drawn_heads(self) -> int:
        """Heads of the inputs that are drawn: two batch-heads at most."""
        return 1 if self.masked else min(self.heads, 2)


@dataclass(frozen=True)
class GateResult:
    """Largest absolute errors and what was allowed.

    Attributes:
        errors: For ``out dq dk dv``, or for each property of a method that is not exact.
        reason: What failed, or None if nothing did.
    """

    errors: list[GateError]
    reason: str | None

    @classmethod
    def judge(cls, errors: list[GateError], failures: Iterable[str] = ()) -> GateResult:
        """Return the result of errors, each held to its budget, and of other failures."""
        exceeded = [
            f"{e.name} is off by {e.error:.3g}, the limit is {e.budget:.3g}"
            for e in errors
            if not e.is_within
        ]
        return cls(errors, "; ".join([*failures, *exceeded]) or None)

    @property
    def severity(self) -> tuple[bool, float]:
        """Whether something failed, and the largest error in units of what is allowed."""
        shares = [e.error / e.budget for e in self.errors if e.budget]
        return self.reason is not None, max(shares, default=0.0)


def check_attention(
    attention: AttentionFunction | Attention,
    setup: GateSetup,
    pattern: BlockPattern,
    pruned: Pruned,
) -> GateResult:
    """Compare ``attention`` with the block-sparse oracle in float64.

    Args:
        attention: Maps ``q k v`` and the key padding mask to the output.
        setup: The inputs, and how ``attention`` runs on them.
        pattern: The pattern that ``attention`` uses; the full one for a dense method.
        pruned: What a pruned score counts as.
    """

    def oracle(q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None) -> Tensor:
        return reference.block_attention_by_rows(
            q, k, v, pattern, pruned=pruned, key_padding_mask=key_padding_mask
        )[0]

    def plain(q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None) -> Tensor:
        return reference.block_attention(
            q, k, v, pattern, pruned=pruned, key_padding_mask=key_padding_mask
        )[0]

    return check_against(attention, oracle, plain, setup)


def check_against(
    attention: AttentionFunction | Attention,
    oracle: AttentionFunction,
    plain: AttentionFunction,
    setup: GateSetup,
    *,
    padded_rows: bool = True,
) -> GateResult:
    """Compare ``attention`` with any oracle, by the rule for all methods.

    Args:
        attention: See ``check_attention``.
        oracle: Computes the exact result from float64 inputs.
        plain: The plain-PyTorch reference; its error in ``setup.dtype`` sets what is allowed.
        setup: The inputs, and how ``attention`` runs on them.
        padded_rows: Whether the rows of padding are compared too.
    """
    dtype = setup.dtype
    inputs, mask = draw_inputs(setup)
    names = RESULTS[:1] if setup.forward_only else RESULTS
    if mask is not None and not padded_rows:
        attention, oracle, plain = (_real_rows(f) for f in (attention, oracle, plain))
    exact = _results(oracle, inputs, mask, torch.float64, "cpu", len(names))
    rounded = _results(plain, inputs, mask, dtype, "cpu", len(names))
    measured = _results(attention, inputs, mask, dtype, setup.device, len(names))
    roundings = BAND_ROUNDINGS * torch.finfo(torch.float32).eps
    if dtype in (torch.float16, torch.bfloat16):
        roundings += torch.finfo(dtype).eps  # the result's own rounding
    errors = []
    for name, want, near, got in zip(names, exact, rounded, measured, strict=True):
        band = roundings * float(want.abs().max())
        budget = 2 * float((near - want).abs().max()) + band
        errors.append(GateError(name=name, error=float((got - want).abs().max()), budget=budget))
    return GateResult.judge(errors)


def draw_inputs(setup: GateSetup) -> tuple[list[Tensor], Tensor | None]:
    """Draw q, k, v and the output's gradient in float64, and a mask with a padded tail."""
    generator = torch.Generator().manual_seed(setup.seed)
    batch = 2 if setup.masked else 1
    size = (batch, setup.drawn_heads, setup.length, setup.head_dim)
    inputs = [torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(4)]
    inputs = [x.to(setup.dtype).to(torch.float64) for x in inputs]  # the same for both dtypes
    if not setup.masked:
        return inputs, None
    lengths = torch.tensor([setup.length, setup.length * 3 // 4])
    return inputs, torch.arange(setup.length)[None, :] < lengths[:, None]


def _real_rows(attention: AttentionFunction | Attention) -> AttentionFunction:
    """Set the rows of padding to 0: they are not compared and have no gradient."""

    def attend(q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None) -> Tensor:
        assert key_padding_mask is not None
        out: Tensor = attention(q, k, v, key_padding_mask)
        return torch.where(key_padding_mask[:, None, :, None], out, 0)

    return attend


def _results(
    attention: AttentionFunction | Attention,
    inputs: list[Tensor],
    mask: Tensor | None,
    dtype: torch.dtype,
    device: str,
    count: int,
) -> list[Tensor]:
    """Return the first ``count`` of out, dq, dk, dv, in float64 on the CPU."""
    q, k, v, dout = (x.to(device=device, dtype=dtype) for x in inputs)
    q, k, v = (x.detach().requires_grad_(count > 1) for x in (q, k, v))
    out = attention(q, k, v, None if mask is None else mask.to(device))
    gradients: tuple[Tensor, ...] = ()
    if count > 1:
        # A method may ignore an input, as shared queries and keys do: its gradient is 0.
        gradients = torch.autograd.grad(out, (q, k, v), dout, materialize_grads=True)
    return [x.detach().to(device="cpu", dtype=torch.float64) for x in (out, *gradients)]
