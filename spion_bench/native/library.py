"""The libraries of kernels built from ``csrc``, and which of them the operators run on.

Three libraries are built on first use, kept in ``$SPION_BENCH_CACHE`` (``~/.cache/spion_bench``)
and loaded from there in milliseconds by later processes (a wheel may bring the first one along, see
``native.prebuilt``):

- ``CPU``: the schemas of ``torch.ops.spion_bench`` and the CPU kernels
- ``CUDA``: the CUDA kernels, apart from the others because only they need nvcc
- ``EMULATED``: the CUDA kernels' own sources compiled for the CPU (``csrc/emulation``), as
  ``torch.ops.spion_bench_emulated``. It checks what a GPU would get wrong silently. It proves
  results and says nothing about speed, and only ``use_backend`` chooses it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from spion_bench.kernel_limits import LIMITS, KernelLimits, Kernels
from spion_bench.native.build import CPU_RECIPE, BuildInfo, Recipe, load_library
from spion_bench.native.cache import cache_root
from spion_bench.native.cuda import cuda_recipe
from spion_bench.native.error import BuildError
from spion_bench.native.prebuilt import load_prebuilt

__all__ = ["BuildError", "BuildInfo"]  # and what is defined here

Backend = Literal["cpu", "emulated"]
# Every operator that takes tensors, as in csrc/operators.h; each library has all of them.
OPERATORS = (
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
EMULATED_RECIPE = Recipe(
    kernels="CUDA kernels for the emulator",
    duration="a few minutes",
    compiled=("emulation/*.cpp",),
    included=(
        "*.h",
        "emulation/*.h",
        "cuda/*.h",
        "cuda/*.cuh",
        "cuda/common/*.h",
        "cuda/common/*.cuh",
        "cuda/instances/*.cu",
    ),
)

_lock = threading.RLock()  # one library is loaded at a time


class Library:
    """One library of kernels: loaded once per process, and what follows its load.

    Attributes:
        name: Name of the library and of its namespace in ``torch.ops`` (the CUDA kernels have
            none of their own); its cache folder begins with it.
        info: How the loaded library came to be; None before it is loaded.
    """

    def __init__(
        self,
        name: str,
        recipe: Callable[[], Recipe],
        *,
        folder: str = "",
        schemas: Library | None,
        in_wheels: bool = False,
    ) -> None:
        """Describe a library; nothing is built or loaded before ``load``.

        Args:
            name: See above.
            recipe: Returns how to build it here, or raises BuildError.
            folder: Folder of its sources, in ``csrc``.
            schemas: The library that has to be loaded before this one, for its schemas.
            in_wheels: Whether a wheel may bring it along.
        """
        self.name = name
        self.info: BuildInfo | None = None
        self._recipe = recipe
        self._folder = folder
        self._schemas = schemas
        self._in_wheels = in_wheels
        self._failure: BuildError | None = None
        self._after_load: list[Callable[[], None]] = []

    def load(self, *, compiles: bool = False) -> BuildInfo:
        """Build the library if needed, load it and register what waits for it; once per process.

        Args:
            compiles: Whether to compile it also where a wheel brought one that does not fit.

        Raises:
            BuildError: If it cannot be built; later calls raise the same error without another try.
        """
        if self.info is not None:
            return self.info
        with _lock:
            if self._failure is not None:
                raise self._failure
            if self.info is None:  # else another thread has loaded it meanwhile
                try:
                    self.info = self._load(compiles)
                except BuildError as error:
                    self._failure = error
                    raise
            return self.info

    def after_load(self, register: Callable[[], None]) -> None:
        """Call ``register`` once the library is loaded: now if it is, else at the end of ``load``.

        The operators' files register their fake kernels, gradients and autocast rules by this.
        """
        with _lock:
            if self.info is not None:
                register()
            else:
                self._after_load.append(register)

    def _load(self, compiles: bool) -> BuildInfo:
        recipe = self._recipe()
        if self._schemas is not None:
            self._schemas.load()
        sources, info, refusal = source_dir() / self._folder, None, None
        if self._in_wheels:
            try:
                info = load_prebuilt(sources)
            except BuildError as error:
                refusal = None if compiles else error
        if info is None:
            info = load_library(self.name, sources, cache_root(), recipe, refusal=refusal)
        while self._after_load:
            self._after_load.pop(0)()
        return info


CPU = Library("spion_bench", lambda: CPU_RECIPE, schemas=None, in_wheels=True)
CUDA = Library("spion_bench_cuda", cuda_recipe, folder="cuda", schemas=CPU)
EMULATED = Library("spion_bench_emulated", lambda: EMULATED_RECIPE, schemas=CPU)
DEVICES = {"cpu": CPU, "cuda": CUDA}

_backend: Backend = "cpu"
_REFUSAL = (
    f'backend "emulated": only {", ".join(OPERATORS)} exist as CUDA kernels; '
    "call this operator outside of use_backend"
)


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
        EMULATED.load()
    before = _backend
    _backend = backend
    try:
        yield
    finally:
        _backend = before


def load(device: Literal["cpu", "cuda"] = "cpu") -> None:
    """Make ``torch.ops.spion_bench`` usable: build if needed, load, register; once per process.

    Args:
        device: Type of the device whose tensors the operators are to take; CPU tensors always are
            taken.

    Raises:
        BuildError: If it cannot be built; later calls raise the same error without another try.
        ValueError: If ``device`` is neither. RuntimeError: Inside another backend's block.
    """
    if _backend == "emulated":
        raise RuntimeError(_REFUSAL)
    if device not in DEVICES:
        raise ValueError(f'device: expected "cpu" or "cuda", got {device!r}')
    DEVICES[device].load()


# torch.compiler.assume_constant_result without its import of torch._dynamo, more than a second.
vars(load)["_dynamo_marked_constant"] = True


def build_info(device: Literal["cpu", "cuda"] = "cpu") -> BuildInfo:
    """Return how the loaded library of a device type came to be; loads it first if needed."""
    load(device)
    return DEVICES[device].load()


def operator(name: str) -> Any:
    """Return the operator that this backend runs for ``torch.ops.spion_bench.<name>``.

    Raises:
        RuntimeError: If the backend lacks it.
    """
    if _backend == "emulated":
        if name not in OPERATORS:
            raise RuntimeError(_REFUSAL)
        return getattr(torch.ops.spion_bench_emulated, name)
    load()
    return getattr(torch.ops.spion_bench, name)


def limits(device: torch.device) -> KernelLimits:
    """Return what the kernels take that this backend runs on tensors of a device."""
    runs_cuda_kernels = device.type == "cuda" or _backend == "emulated"
    return LIMITS["cuda" if runs_cuda_kernels else "cpu"]


def dtypes(device: torch.device, kernels: Kernels) -> tuple[torch.dtype, ...]:
    """Return which types those kernels take; the pipeline's tiles have the type of q, k and v."""
    return tuple(getattr(torch, name) for name in limits(device).dtypes[kernels])


def source_dir() -> Path:
    """Return ``csrc``: inside the package when installed from a wheel, next to it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "csrc", package.parent / "csrc"):
        if (folder / "schema.cpp").is_file():
            return folder
    raise BuildError(
        f"csrc: the C++ sources are neither in {package} nor next to it; reinstall spion_bench"
    )
