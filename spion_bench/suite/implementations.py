"""Every implementation of an operator that kernel cases measure, each stated once; no torch.

An implementation is named by what it computes and how. One that is an attention method of the suite
is built from that method's own entry, with the case's pattern or window.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from spion_bench.records import MethodInfo
from spion_bench.records.cell import Family, Role
from spion_bench.records.names import check_name
from spion_bench.suite.cases.case import KernelCase
from spion_bench.suite.method import Argument
from spion_bench.suite.methods import METHODS, PEERS

Operator = Literal["attention", "pattern", "matmul", "copy"]
Scores = Literal["all", "kept", "window"]

_BUILT_FROM = METHODS | PEERS

_ATTENTION = "spion_bench.passes.kernel.attention"
_OPERATORS = "spion_bench.passes.kernel.operators"


@dataclass(frozen=True)
class Implementation:
    """One function that computes an operator.

    Attributes:
        name: What users, records and reports call it.
        summary: One line.
        family: See ``records.MethodInfo``, as for ``role`` and ``native``.
        role: Its purpose.
        native: Whose kernel it runs.
        operator: What it computes.
        build: ``"module:function"``. For attention, called with the implementation, the case and
            a device it returns a ``BoundAttention``; for other operators, called with the case, a
            seed and a device, a ``Prepared``.
        method: Name of the attention method, or of the peer, that it is, or None.
        call: Name of the one call that is timed; "" for attention, whose calls the case decides.
        scores: The scores that attention computes: all, those of kept blocks, or a window's.
        stores_scores: Whether attention stores them for its backward pass.
        forward_only: Whether only its forward pass is measured.
        dtype: Name of the torch dtype that it computes in, whatever the case's is, or None.
    """

    name: str
    summary: str
    family: Family
    role: Role
    native: str
    operator: Operator
    build: str
    method: str | None = None
    call: str = ""
    scores: Scores = "kept"
    stores_scores: bool = False
    forward_only: bool = False
    dtype: str | None = None

    @property
    def requires(self) -> tuple[str, ...]:
        """Packages beyond the suite's own dependencies that it runs."""
        return () if self.method is None else _BUILT_FROM[self.method].requires

    def computes_in(self, case: KernelCase) -> str:
        """Return the name of the torch dtype in which it computes ``case``."""
        return self.dtype or case.dtype

    def calls(self, case: KernelCase) -> tuple[str, ...]:
        """Return the names of the calls that are timed on ``case``."""
        if self.operator != "attention":
            return (self.call,)
        if self.forward_only:
            return ("forward_ms",)
        return ("forward_ms", "backward_ms" if case.measures == "passes" else "forward_backward_ms")

    def info(self, case: KernelCase) -> MethodInfo:
        """Return what a cell of ``case`` states about the implementation."""
        factory, variant, stated = self.build, None, dict[str, Argument]()
        if self.method is not None:
            method = _BUILT_FROM[self.method]
            factory, variant, stated = method.factory, method.variant, dict(method.arguments)
        if self.scores == "window":
            stated["window"] = Argument(case.window, "ours")
        return MethodInfo(
            name=self.name,
            family=self.family,
            role=self.role,
            base=self.method or self.name,
            summary=self.summary,
            native=self.native,
            factory=factory,
            variant=variant,
            devices=("cpu", "cuda"),
            arguments={name: argument.value for name, argument in stated.items()},
            origins={name: argument.origin for name, argument in stated.items()},
            requires=self.requires,
        )


def _of_method(name: str, method: str, build: str, **facts: Any) -> Implementation:
    """Return the implementation that a method of the suite is; ``facts`` replace the method's."""
    entry = _BUILT_FROM[method]
    shared: dict[str, Any] = {
        "summary": entry.summary,
        "family": entry.family,
        "role": entry.role,
        "native": entry.native,
    }
    return Implementation(
        name=name,
        operator="attention",
        build=f"{_ATTENTION}:{build}",
        method=method,
        **{**shared, **facts},
    )


def _forward_of(method: str, build: str, summary: str, **facts: Any) -> Implementation:
    """Return the forward pass alone of what a method of the suite is."""
    facts |= {"summary": summary, "forward_only": True}
    return _of_method(f"{method}_forward", method, build, **facts)


_csr_pipeline = partial(
    Implementation,
    family="spion",
    role="isolates",
    native="PyTorch",
    operator="attention",
    build=f"{_ATTENTION}:bind_csr",
    stores_scores=True,
)

_ATTENTION_IMPLEMENTATIONS = (
    _of_method(
        "block_attention",
        "spion_cf",
        "bind_blocks",
        summary="attention over the kept blocks, one fused operator",
    ),
    _of_method(
        "block_attention_float32",
        "spion_cf",
        "bind_blocks",
        summary="block_attention on the same values in float32",
        role="isolates",
        dtype="float32",
    ),
    _of_method(
        "pipeline",
        "spion_cf@pipeline",
        "bind_blocks",
        summary="attention over the kept blocks by SDDMM, softmax and SpMM",
        stores_scores=True,
    ),
    _csr_pipeline(
        "csr_pipeline", "the published pipeline on element-wise CSR, through torch's cuSPARSE"
    ),
    _csr_pipeline(
        "csr_pipeline_float32", "csr_pipeline on the same values in float32", dtype="float32"
    ),
    _of_method("cudnn_bsa", "cudnn_bsa", "bind_peer"),
    _of_method("flashinfer", "flashinfer", "bind_peer", forward_only=True),
    _of_method("dense_sdpa", "dense_sdpa", "bind_dense", scores="all"),
    _forward_of("dense_sdpa", "bind_dense", "the forward pass of dense_sdpa alone", scores="all"),
    _of_method("dense_eager", "dense_eager", "bind_dense", scores="all", stores_scores=True),
    _of_method("dense_xformers", "xformers_fmha", "bind_dense", scores="all"),
    _of_method("flex", "flex", "bind_flex", summary="FlexAttention on the same blocks"),
    _forward_of("flex", "bind_flex", "the forward pass of FlexAttention on the same blocks"),
    _of_method(
        "sliding_window",
        "sliding_window",
        "bind_window",
        summary="a window of tokens as dense as the pattern",
        role="isolates",
        scores="window",
        stores_scores=True,
    ),
)


def _operator(
    name: str, summary: str, operator: Operator, build: str, call: str, **facts: Any
) -> Implementation:
    """Return the implementation of an operator other than attention."""
    build = f"{_OPERATORS}:{build}"
    return Implementation(name, summary, operator=operator, build=build, call=call, **facts)


_OURS = {"family": "operator", "role": "subject", "native": "spion_bench"}
_LIMIT = {"family": "limit", "role": "limit", "native": "PyTorch"}
_WALK_IN_PYTHON = {"family": "operator", "role": "reference", "native": "Python"}

_OTHER_IMPLEMENTATIONS = (
    _operator(
        "generate_pattern",
        "SPION-CF's pattern from a given attention map",
        "pattern",
        "prepare_generate_pattern",
        "generate_pattern_ms",
        **_OURS,
    ),
    _operator(
        "pattern_from_qk",
        "SPION-CF's pattern from q and k",
        "pattern",
        "prepare_pattern_from_qk",
        "pattern_from_qk_ms",
        **_OURS,
    ),
    _operator(
        "flood_fill",
        "the walk of pattern generation alone",
        "pattern",
        "prepare_flood_fill",
        "walk_ms",
        **_OURS,
    ),
    _operator(
        "python_walk",
        "the same walk in plain Python, as published",
        "pattern",
        "prepare_python_walk",
        "walk_ms",
        **_WALK_IN_PYTHON,
    ),
    _operator(
        "sgemm",
        "a large float32 matrix product in torch: the limit of every rate",
        "matmul",
        "prepare_sgemm",
        "matmul_ms",
        **_LIMIT,
    ),
    _operator(
        "memory_copy",
        "a copy far larger than the caches: the memory bandwidth",
        "copy",
        "prepare_memory_copy",
        "copy_ms",
        **_LIMIT,
    ),
)

IMPLEMENTATIONS: dict[str, Implementation] = {
    implementation.name: implementation
    for implementation in (*_ATTENTION_IMPLEMENTATIONS, *_OTHER_IMPLEMENTATIONS)
}


def find_implementation(name: str) -> Implementation:
    """Return the implementation called ``name``; UsageError suggests the nearest name."""
    return IMPLEMENTATIONS[check_name("implementation", name, IMPLEMENTATIONS)]
