"""Which library runs the fused operator: the CPU kernels, or the CUDA kernels on the emulator.

The emulator (``csrc/emulation``) compiles the CUDA kernels' own sources for the CPU and checks what
a GPU would get wrong silently. It proves results and says nothing about speed. Nothing chooses it
but ``use_backend``.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from spion_bench import kernels

Backend = Literal["cpu", "emulated"]
EMULATED = "spion_bench_emulated"

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
            CPU tensors. The first use compiles it, for about a minute.

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
    kernels.cpu_refusal = (
        'backend "emulated": only block_attention(implementation="fused") exists as a CUDA kernel; '
        "call this operator outside of use_backend"
        if backend == "emulated"
        else None
    )
    try:
        yield
    finally:
        _backend, kernels.cpu_refusal = before


def operators() -> Any:
    """Return the namespace of ``torch.ops`` that the fused operator has to be called in."""
    if _backend == "emulated":
        return torch.ops.spion_bench_emulated
    kernels.load()
    return torch.ops.spion_bench


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
            csrc = kernels.source_dir()
            name = f"{EMULATED}_{_digest_of_includes(csrc)}"
            info = kernels.load_library(name, csrc / "emulation", kernels.cache_root())
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


def _digest_of_includes(csrc: Path) -> str:
    """Return a digest of what ``csrc/emulation`` includes from elsewhere.

    The cache tells libraries apart by name and by the files of the compiled folder.
    """
    files = [file for file in (csrc / "cuda").rglob("*") if file.is_file()]
    digest = hashlib.sha256()
    for file in sorted([*files, *csrc.glob("*.h")]):
        digest.update(f"\n{file.relative_to(csrc)}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:8]
