"""The attention subjects of the kernel cases, each bound to the pattern of one case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from spion_bench.block_pattern import BlockPattern
from spion_bench.harness.gate import (
    AttentionFunction,
    GateResult,
    GateShape,
    check_against,
    check_attention,
)
from spion_bench.harness.kernel_case import KernelCase, subject_dtype
from spion_bench.harness.kernel_limits import FORWARD_ONLY
from spion_bench.harness.kernel_peers import sliding_window, window_reference
from spion_bench.harness.registry import METHODS, load_object
from spion_bench.harness.synthetic import band_and_stripes
from spion_bench.model.attention import UnsupportedError, dense_attention
from spion_bench.ops import block_attention
from spion_bench.ops.block_attention import Implementation

# A longer case is checked at this length, with the same head width, block size and kind of
# pattern: the oracle keeps [L, L] scores.
LONGEST_CHECK = 2048

PlainAttention = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class BoundAttention:
    """An attention function, bound to the pattern of one case.

    Attributes:
        function: Maps q, k, v to the output.
        scores: Scores per head that the function needs: what its rate is counted on.
        pattern: The block pattern in use (the full one for dense attention), or None.
        settings: What else a record says about the function.
    """

    function: PlainAttention
    scores: int
    pattern: BlockPattern | None = None
    settings: dict[str, str | int | float | bool | None] = field(default_factory=dict)


def case_pattern(case: KernelCase) -> BlockPattern:
    """Return the pattern of an attention case."""
    if case.pattern == "band":
        return BlockPattern.band(case.length, case.block_size, 1)
    return band_and_stripes(case.length, case.block_size, case.n_blocks)


def bind(subject: str, case: KernelCase) -> BoundAttention:
    """Bind an attention subject to the pattern of ``case``.

    Raises:
        UnsupportedError: If the subject cannot compute the case.
    """
    return ATTENTIONS[subject](case)


def check_subject(subject: str, case: KernelCase, seed: int) -> GateResult:
    """Run the gate on an attention subject, at the case's shape or a shorter one.

    Raises:
        UnsupportedError: If the subject cannot compute the case.
    """
    checked = replace(case, length=min(case.length, LONGEST_CHECK))
    bound = bind(subject, checked)
    shape = GateShape(checked.heads, checked.length, checked.head_dim, masked=False)
    dtype: torch.dtype = getattr(torch, subject_dtype(case, subject))
    forward_only = subject in FORWARD_ONLY

    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return bound.function(q, k, v)

    if bound.pattern is None:
        reference: AttentionFunction = partial(_windowed, width=checked.window)
        return check_against(
            attend, reference, reference, shape, seed=seed, dtype=dtype, forward_only=forward_only
        )
    return check_attention(
        attend,
        shape,
        bound.pattern,
        "minus_inf",
        seed=seed,
        dtype=dtype,
        forward_only=forward_only,
    )


def _windowed(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, width: int) -> Tensor:
    return window_reference(q, k, v, width=width)


def _block_sparse(case: KernelCase, implementation: Implementation) -> BoundAttention:
    pattern = case_pattern(case)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return block_attention(q, k, v, pattern, pruned="minus_inf", implementation=implementation)

    _require_dtype(attend, case)
    return BoundAttention(attend, pattern.nnzb * pattern.block_size**2, pattern)


def _require_dtype(attend: PlainAttention, case: KernelCase) -> None:
    """Raise UnsupportedError if the operator refuses the case's dtype."""
    if case.dtype in ("float32", "float64"):
        return
    q = torch.zeros(1, 1, case.length, case.head_dim, dtype=getattr(torch, case.dtype))
    try:
        attend(q, q, q)
    except ValueError as error:
        raise UnsupportedError(str(error)) from error


def _dense(case: KernelCase, attend: PlainAttention) -> BoundAttention:
    full = BlockPattern.full(case.length, case.block_size)
    return BoundAttention(attend, case.length**2, full)


def _dense_eager(case: KernelCase) -> BoundAttention:
    return _dense(case, load_object(METHODS["dense_eager"].factory)())


def _flex(case: KernelCase) -> BoundAttention:
    pattern = case_pattern(case)
    scores = pattern.nnzb * pattern.block_size**2
    flex = load_object(METHODS["flex"].factory)(pruned="minus_inf", pattern=pattern)
    return BoundAttention(flex, scores, pattern)


def _window(case: KernelCase) -> BoundAttention:
    width = case.window
    attend = sliding_window(case.length, width=width, chunk=case.block_size)
    scores = case.length * (2 * width + 1) - width * (width + 1)
    return BoundAttention(attend, scores, settings={"window": width})


ATTENTIONS: dict[str, Callable[[KernelCase], BoundAttention]] = {
    "block_attention": partial(_block_sparse, implementation="fused"),
    "block_attention_float32": lambda case: _block_sparse(replace(case, dtype="float32"), "fused"),
    "pipeline": partial(_block_sparse, implementation="pipeline"),
    "dense_sdpa": partial(_dense, attend=dense_attention),
    "dense_sdpa_forward": partial(_dense, attend=dense_attention),
    "dense_eager": _dense_eager,
    "flex_forward": _flex,
    "sliding_window": _window,
}
