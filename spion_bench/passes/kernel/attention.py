"""Attention implementations bound to the pattern of one case, and their gate.

One that is a method of the suite is built from the method's own entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend

from spion_bench.block_pattern import BlockPattern
from spion_bench.model.attention import Attention, UnsupportedError
from spion_bench.native import library
from spion_bench.passes.attention import build_attention
from spion_bench.passes.gate.mask import masked_attention_by_rows
from spion_bench.passes.gate.oracle import (
    AttentionFunction,
    GateResult,
    GateSetup,
    check_against,
    check_attention,
)
from spion_bench.passes.kernel.csr import bind_csr_pipeline
from spion_bench.passes.synthetic import band_and_stripes
from spion_bench.records import AttentionInfo
from spion_bench.suite.cases.case import KernelCase
from spion_bench.suite.implementations import Implementation
from spion_bench.suite.method import load_object
from spion_bench.suite.needs import OWN_KERNELS

# A longer case is checked at this length, with the same head width, block size and kind of
# pattern: the oracle keeps [L, L] scores. On a GPU all published lengths are checked as they are.
LONGEST_CHECK = 2048
LONGEST_CHECK_OF_PASSES = 4096

PlainAttention = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class BoundAttention:
    """An attention function, bound to the pattern of one case.

    Attributes:
        function: Maps q, k, v to the output.
        scores: Scores per head that the function needs: what its rate is counted on.
        pattern: The block pattern in use (the full one for dense attention), or None.
        mask: Makes the bool ``[L, L]`` mask of attention without a block pattern, for its gate.
        method: The suite's attention that the function is, or None.
        chosen: Says, after it ran, what the function chose by itself for inputs like those given.
        problem: Why the function does not attend to the pattern, or None; part of the gate.
    """

    function: PlainAttention
    scores: int
    pattern: BlockPattern | None = None
    mask: Callable[[], Tensor | None] = lambda: None
    method: Attention | None = None
    chosen: Callable[[Tensor, Tensor, Tensor], dict[str, str]] = lambda q, k, v: {}
    problem: str | None = None

    def describe(self, q: Tensor, k: Tensor, v: Tensor) -> AttentionInfo:
        """Return what a record says about the function, after it ran on inputs like these."""
        if self.method is None:
            return AttentionInfo(chosen=self.chosen(q, k, v))
        return AttentionInfo(
            exact=self.method.capabilities.exact,
            caveats=list(self.method.caveats),
            chosen={**self.method.details(), **self.chosen(q, k, v)},
        )


def case_pattern(case: KernelCase, device: str = "cpu") -> BlockPattern:
    """Return the pattern of an attention case, on a device."""
    if case.pattern == "band":
        return BlockPattern.band(case.length, case.block_size, 1).to(device)
    return band_and_stripes(case.length, case.block_size, case.n_blocks).to(device)


def bind(implementation: Implementation, case: KernelCase, device: str = "cpu") -> BoundAttention:
    """Bind attention to the pattern of ``case``, for inputs on ``device``.

    Raises:
        UnsupportedError: If the implementation cannot compute the case.
    """
    bound: BoundAttention = load_object(implementation.build)(implementation, case, device)
    return bound


def checked_length(case: KernelCase) -> int:
    """Return the length at which the gate checks a case."""
    longest = LONGEST_CHECK_OF_PASSES if case.measures == "passes" else LONGEST_CHECK
    return min(case.length, longest)


def check_implementation(
    implementation: Implementation, case: KernelCase, seed: int, device: str = "cpu"
) -> GateResult:
    """Run the gate on an implementation, at the case's shape or a shorter one.

    Pattern operators and limits are not checked here: the tests compare operators bit for bit. A
    case of a GPU is checked with its whole batch in its layout, on the last item: that is where an
    offset of 32 bits would overflow. Where products of float32 may be TF32, the budget is that of
    float16, which has as many bits.

    Raises:
        UnsupportedError: If the implementation cannot compute the case.
    """
    if implementation.operator != "attention":
        return GateResult([], None)
    checked = replace(case, length=checked_length(case))
    bound = bind(implementation, checked, device)
    if bound.problem is not None:
        return GateResult([], bound.problem)
    setup = GateSetup(
        checked.heads,
        checked.length,
        checked.head_dim,
        masked=False,
        device=device,
        dtype=torch.float16 if case.tf32 else getattr(torch, implementation.computes_in(case)),
        forward_only=implementation.forward_only,
        seed=seed,
    )
    function = _through_float32(bound.function) if case.tf32 else bound.function
    if case.measures == "passes":
        function = _in_last_item(function, case.batch)

    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return function(q, k, v)

    if bound.pattern is None:
        reference: AttentionFunction = partial(_masked, bound.mask())
        return check_against(attend, reference, reference, setup)
    return check_attention(attend, setup, bound.pattern.to("cpu"), "minus_inf")


def bind_blocks(implementation: Implementation, case: KernelCase, device: str) -> BoundAttention:
    """Bind ``block_attention``, fused or as the pipeline, to the case's blocks.

    Raises:
        UnsupportedError: If the kernels do not take the case.
        BuildError: If the CUDA kernels cannot be built here.
    """
    if device == "cuda":
        library.load("cuda")
    refusal = library.limits(torch.device(device)).refusal(
        head_dim=case.head_dim,
        batch_heads=case.batch * case.heads,
        block_size=case.block_size,
        dtype=implementation.computes_in(case),
        kernels=OWN_KERNELS[implementation.native],
    )
    if refusal is not None:
        raise UnsupportedError(f"{implementation.name}: {refusal}")
    return bind_peer(implementation, case, device)


def bind_peer(implementation: Implementation, case: KernelCase, device: str) -> BoundAttention:
    """Bind a method that takes a pattern to the case's blocks."""
    pattern = case_pattern(case, device)
    method = _method(implementation, case, pattern)
    return BoundAttention(method, _kept_scores(pattern), pattern, method=method)


def bind_flex(implementation: Implementation, case: KernelCase, device: str) -> BoundAttention:
    """Bind FlexAttention to the case's blocks."""
    bound = bind_peer(implementation, case, device)
    assert bound.pattern is not None
    return replace(bound, problem=mask_problem(bound.pattern))


def bind_csr(implementation: Implementation, case: KernelCase, device: str) -> BoundAttention:
    """Bind the pipeline on element-wise CSR to the case's blocks."""
    pattern = case_pattern(case, device)
    attend = bind_csr_pipeline(pattern, getattr(torch, implementation.computes_in(case)))
    return BoundAttention(attend, _kept_scores(pattern), pattern)


def bind_dense(implementation: Implementation, case: KernelCase, device: str) -> BoundAttention:
    """Bind dense attention, which ignores the case's pattern."""
    method = _method(implementation, case)
    full = BlockPattern.full(case.length, case.block_size)
    chosen = _sdpa_backend if implementation.method == "dense_sdpa" else lambda q, k, v: {}
    return BoundAttention(method, case.length**2, full, method=method, chosen=chosen)


def bind_window(implementation: Implementation, case: KernelCase, device: str) -> BoundAttention:
    """Bind a window of tokens that is as dense as the case's pattern."""
    method = _method(implementation, case)
    return BoundAttention(
        method,
        method.n_scores(case.length, 1),
        mask=lambda: method.token_mask(case.length, 1),
        method=method,
    )


def mask_problem(pattern: BlockPattern) -> str | None:
    """Return where FlexAttention's mask is not the pattern, in its lists or ``mask_mod``."""
    mask = load_object("baselines.flex.attention:flex_block_mask")(pattern)
    kept, size = pattern.to_mask(), pattern.block_size
    if not torch.equal(mask.to_dense()[0, 0].bool(), kept):
        return "the block lists of FlexAttention's mask do not match the pattern"
    for offset in (0, size - 1):  # first and last token of every block
        place = torch.arange(pattern.nb, device=pattern.device) * size + offset
        if not torch.equal(mask.mask_mod(0, 0, place[:, None], place[None, :]), kept):
            return "mask_mod of FlexAttention's mask does not match the pattern"
    return None


def _method(
    implementation: Implementation, case: KernelCase, pattern: BlockPattern | None = None
) -> Attention:
    info = implementation.info(case)
    return build_attention(info, layer=0, pruned="minus_inf", pattern=pattern)


def _kept_scores(pattern: BlockPattern) -> int:
    return pattern.nnzb * pattern.block_size**2


def _sdpa_backend(q: Tensor, k: Tensor, v: Tensor) -> dict[str, str]:
    return {"sdpa_backend": SDPBackend(torch._fused_sdp_choice(q, k, v)).name}


def _masked(
    mask: Tensor | None, q: Tensor, k: Tensor, v: Tensor, key_padding_mask: Tensor | None
) -> Tensor:
    return masked_attention_by_rows(q, k, v, mask, key_padding_mask)


def _through_float32(function: PlainAttention) -> PlainAttention:
    return lambda q, k, v: function(q.float(), k.float(), v.float()).to(q.dtype)


def _in_last_item(function: PlainAttention, batch: int) -> PlainAttention:
    """Compute one item as the last one of a batch that lies in memory as ``[B, L, H, D]``."""

    def attend(*inputs: Tensor) -> Tensor:
        q, k, v = (
            x.transpose(1, 2).expand(batch, -1, -1, -1).contiguous().transpose(1, 2) for x in inputs
        )
        return function(q, k, v)[-1:]

    return attend
