"""Which library runs the operators: the CPU kernels, or the CUDA kernels on the emulator.

The emulator (``csrc/emulation``) compiles the CUDA kernels' own sources for the CPU and checks what
a GPU would get wrong silently. It proves results and says nothing about speed. Nothing chooses it
but ``use_backend``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

from spion_bench.native import library as kernels
from spion_bench.native.build import Recipe

Backend = Literal["cpu", "emulated"]
EMULATED = "spion_bench_emulated"
RECIPE = Recipe(
    kernels="CUDA kernels for the emulator",
    duration="some minutes",
    compiled=("emulation/*.cpp",),
    included=("*.h", "emulation/*.h", "cuda/*.h", "cuda/*.cuh", "cuda/instances/*.cu"),
)
# What csrc/emulation registers. A new one is a line here, and its Python face calls `operator`.
EMULATED_OPERATORS = (
    "block_attention_forward",
    "block_attention_backward",
    "block_sddmm",
    "block_softmax",
    "block_softmax_backward",
    "block_spmm",
    "block_spmm_transposed",
    "block_dropout",
    "attention_map",
    "diagonal_conv",
    "average_pool",
    "flood_fill",
)
_REFUSAL = (
    f'backend "emulated": only {", ".join(EMULATED_OPERATORS)} exist as CUDA kernels; '
    "call this operator outside of use_backend"
)

# What the pipeline's operators take, by kernels: their tiles have the type of q, k and v.
CPU_PIPELINE_DTYPES = (torch.float32, torch.float64)
CUDA_PIPELINE_DTYPES = (torch.float32, torch.float16, torch.bfloat16)

_backend: Backend = "cpu"
_state_lock = threading.RLock()
_loaded: kernels.BuildInfo | None = None
_after_load: list[Callable[[], None]] = []


@contextmanager
def use_backend(backend: Backend) -> Iterator[None]:
    """Run operators inside the ``with`` block by this backend; for the whole process, all threads.

    Operators that the backend lacks raise RuntimeError: nothing falls back to another one. A
    backward pass runs on the backend of its forward pass.

    Args:
        backend: ``"cpu"``, the default outside any block, or ``"emulated"``: the CUDA kernels on
            CPU tensors. The first use compiles it, for some minutes.

    Raises:
        ValueError: If there is no such backend.
        BuildError: If the library cannot be built.
    """
    global _backend
    if backend not in ("cpu", "emulated"):
        raise ValueError(f'backend: expected "cpu" or "emulated", got {backend!r}')
    if backend == "emulated":
        load_emulated()
    before = _backend, kernels.cpu_refusal
    _backend = backend
    kernels.cpu_refusal = _REFUSAL if backend == "emulated" else None
    try:
        yield
    finally:
        _backend, kernels.cpu_refusal = before


def operator(name: str) -> Any:
    """Return the operator that this backend runs for ``torch.ops.spion_bench.<name>``.

    Raises:
        RuntimeError: If the backend lacks it.
    """
    if _backend == "emulated":
        if name not in EMULATED_OPERATORS:
            raise RuntimeError(_REFUSAL)
        return getattr(torch.ops.spion_bench_emulated, name)
    kernels.load()
    return getattr(torch.ops.spion_bench, name)


def pipeline_dtypes(device: torch.device) -> tuple[torch.dtype, ...]:
    """Return which types the pipeline's operators take on a device, by this backend."""
    runs_cuda_kernels = device.type == "cuda" or _backend == "emulated"
    return CUDA_PIPELINE_DTYPES if runs_cuda_kernels else CPU_PIPELINE_DTYPES


def load_emulated() -> kernels.BuildInfo:
    """Make ``torch.ops.spion_bench_emulated`` usable: build if needed, load, register.

    Raises:
        BuildError: If the library cannot be built.
    """
    global _loaded
    with _state_lock:
        if _loaded is None:
            if kernels.cpu_refusal is None:
                kernels.load()  # the emulated operators copy its schemas
            sources, cache = kernels.source_dir(), kernels.cache_root()
            info = kernels.load_library(EMULATED, sources, cache, RECIPE)
            while _after_load:
                _after_load.pop(0)()
            _loaded = info
        return _loaded


def after_load(register: Callable[[], None]) -> Callable[[], None]:
    """Run ``register`` once the emulated library is loaded: now if it is."""
    with _state_lock:
        if _loaded is not None:
            register()
        else:
            _after_load.append(register)
    return register
