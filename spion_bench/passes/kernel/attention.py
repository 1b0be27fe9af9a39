"""The attention subjects of the kernel cases, each bound to the pattern of one case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend

from spion_bench.block_pattern import BlockPattern
from spion_bench.literals import Implementation
from spion_bench.model.attention import UnsupportedError, dense_attention
from spion_bench.native import library
from spion_bench.ops import block_attention
from spion_bench.passes.gate.oracle import (
    AttentionFunction,
    GateResult,
    GateShape,
    check_against,
    check_attention,
)
from spion_bench.passes.kernel.csr import bind_csr_pipeline
from spion_bench.passes.kernel.peers import sliding_window, window_reference
from spion_bench.passes.synthetic import band_and_stripes
from spion_bench.suite.cases.case import KernelCase, subject_dtype
from spion_bench.suite.cases.limits import FORWARD_ONLY
from spion_bench.suite.methods import METHODS, load_object

# A longer case is checked at this length, with the same head width, block size and kind of
# pattern: the oracle keeps [L, L] scores.
LONGEST_CHECK = 2048

PlainAttention = Callable[[Tensor, Tensor, Tensor], Tensor]
Details = dict[str, str | int | float | bool | None]


@dataclass(frozen=True)
class BoundAttention:
    """An attention function, bound to the pattern of one case.

    Attributes:
        function: Maps q, k, v to the output.
        scores: Scores per head that the function needs: what its rate is counted on.
        pattern: The block pattern in use (the full one for dense attention), or None.
        settings: What else a record says about the function.
        chosen: Says, after it ran, what the function chose by itself for inputs like those given.
        problem: Why the function does not attend to the pattern, or None; part of the gate.
    """

    function: PlainAttention
    scores: int
    pattern: BlockPattern | None = None
    settings: Details = field(default_factory=dict)
    chosen: Callable[[Tensor, Tensor, Tensor], Details] = lambda q, k, v: {}
    problem: str | None = None


def case_pattern(case: KernelCase, device: str = "cpu") -> BlockPattern:
    """Return the pattern of an attention case, on a device."""
    if case.pattern == "band":
        return BlockPattern.band(case.length, case.block_size, 1).to(device)
    return band_and_stripes(case.length, case.block_size, case.n_blocks).to(device)


def bind(subject: str, case: KernelCase, device: str = "cpu") -> BoundAttention:
    """Bind an attention subject to the pattern of ``case``, for inputs on ``device``.

    Raises:
        UnsupportedError: If the subject cannot compute the case.
    """
    return ATTENTIONS[subject](case, device)


def checked_length(case: KernelCase) -> int:
    """Return the length at which the gate checks a case; one of a GPU is checked as it is."""
    return case.length if case.measures == "passes" else min(case.length, LONGEST_CHECK)


def check_subject(subject: str, case: KernelCase, seed: int, device: str = "cpu") -> GateResult:
    """Run the gate on an attention subject, at the case's shape or a shorter one.

    A case of a GPU is checked with its whole batch in its layout, on the last item: that is where
    an offset of 32 bits would overflow. Where products of float32 may be TF32, the budget is that
    of float16, which has as many bits.

    Raises:
        UnsupportedError: If the subject cannot compute the case.
    """
    checked = replace(case, length=checked_length(case))
    bound = bind(subject, checked, device)
    if bound.problem is not None:
        return GateResult({}, bound.problem)
    shape = GateShape(checked.heads, checked.length, checked.head_dim, masked=False)
    dtype: torch.dtype = (
        torch.float16 if case.tf32 else getattr(torch, subject_dtype(case, subject))
    )
    function = _through_float32(bound.function) if case.tf32 else bound.function
    if case.measures == "passes":
        function = _in_last_item(function, case.batch)

    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return function(q, k, v)

    forward_only = subject in FORWARD_ONLY
    if bound.pattern is None:
        reference: AttentionFunction = partial(_windowed, width=checked.window)
        return check_against(
            attend,
            reference,
            reference,
            shape,
            seed=seed,
            device=device,
            dtype=dtype,
            forward_only=forward_only,
        )
    return check_attention(
        attend,
        shape,
        bound.pattern.to("cpu"),
        "minus_inf",
        seed=seed,
        device=device,
        dtype=dtype,
        forward_only=forward_only,
    )


def _windowed(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, width: int) -> Tensor:
    return window_reference(q, k, v, width=width)


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


def _block_sparse(case: KernelCase, device: str, implementation: Implementation) -> BoundAttention:
    if device == "cuda":
        try:
            library.load("cuda")
        except library.BuildError as error:
            raise UnsupportedError(str(error)) from error
    pattern = case_pattern(case, device)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return block_attention(q, k, v, pattern, pruned="minus_inf", implementation=implementation)

    _require_dtype(attend, case, device)
    return BoundAttention(attend, _kept_scores(pattern), pattern)


def _kept_scores(pattern: BlockPattern) -> int:
    return pattern.nnzb * pattern.block_size**2


def _require_dtype(attend: PlainAttention, case: KernelCase, device: str) -> None:
    """Raise UnsupportedError if the operator refuses the case's dtype."""
    if case.dtype in ("float32", "float64"):
        return
    dtype = getattr(torch, case.dtype)
    q = torch.zeros(1, 1, case.length, case.head_dim, dtype=dtype, device=device)
    try:
        attend(q, q, q)
    except ValueError as error:
        raise UnsupportedError(str(error)) from error


def _float32_twin(case: KernelCase, device: str) -> BoundAttention:
    return _block_sparse(replace(case, dtype="float32"), device, "fused")


def _csr_pipeline(case: KernelCase, device: str) -> BoundAttention:
    pattern = case_pattern(case, device)
    attend = bind_csr_pipeline(pattern, getattr(torch, case.dtype))
    return BoundAttention(attend, _kept_scores(pattern), pattern)


def _dense(
    case: KernelCase,
    attend: PlainAttention,
    chosen: Callable[[Tensor, Tensor, Tensor], Details] = lambda q, k, v: {},
) -> BoundAttention:
    full = BlockPattern.full(case.length, case.block_size)
    return BoundAttention(attend, case.length**2, full, chosen=chosen)


def _dense_sdpa(case: KernelCase, device: str) -> BoundAttention:
    return _dense(case, dense_attention, _sdpa_backend)


def _sdpa_backend(q: Tensor, k: Tensor, v: Tensor) -> Details:
    return {"sdpa_backend": SDPBackend(torch._fused_sdp_choice(q, k, v)).name}


def _dense_method(case: KernelCase, device: str, method: str) -> BoundAttention:
    attention = load_object(METHODS[method].factory)()
    return _dense(case, attention, lambda q, k, v: attention.details())


def _flex(case: KernelCase, device: str) -> BoundAttention:
    pattern = case_pattern(case, device)
    flex = load_object(METHODS["flex"].factory)(pruned="minus_inf", pattern=pattern)
    return BoundAttention(flex, _kept_scores(pattern), pattern, problem=mask_problem(pattern))


def mask_problem(pattern: BlockPattern) -> str | None:
    """Return where FlexAttention's mask is not the pattern, in its lists or ``mask_mod``."""
    mask = load_object("baselines.flex:flex_block_mask")(pattern)
    kept, size = pattern.to_mask(), pattern.block_size
    if not torch.equal(mask.to_dense()[0, 0].bool(), kept):
        return "the block lists of FlexAttention's mask are not the pattern"
    for offset in (0, size - 1):  # first and last token of every block
        place = torch.arange(pattern.nb, device=pattern.device) * size + offset
        if not torch.equal(mask.mask_mod(0, 0, place[:, None], place[None, :]), kept):
            return "mask_mod of FlexAttention's mask is not the pattern"
    return None


def _window(case: KernelCase, device: str) -> BoundAttention:
    width = case.window
    attend = sliding_window(case.length, width=width, chunk=case.block_size, device=device)
    scores = case.length * (2 * width + 1) - width * (width + 1)
    return BoundAttention(attend, scores, settings={"window": width})


ATTENTIONS: dict[str, Callable[[KernelCase, str], BoundAttention]] = {
    "block_attention": partial(_block_sparse, implementation="fused"),
    "block_attention_float32": _float32_twin,
    "pipeline": partial(_block_sparse, implementation="pipeline"),
    "csr_pipeline": _csr_pipeline,
    "dense_sdpa": _dense_sdpa,
    "dense_sdpa_forward": _dense_sdpa,
    "dense_eager": partial(_dense_method, method="dense_eager"),
    "dense_xformers": partial(_dense_method, method="xformers_fmha"),
    "flex": _flex,
    "flex_forward": _flex,
    "sliding_window": _window,
}
