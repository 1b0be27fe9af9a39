"""Loads the kernels of ``csrc``, building them on first use.

The operators' Python faces call ``load()`` before they touch ``torch.ops.spion_bench``. It brings
the schemas and the CPU kernels; ``load("cuda")`` adds the CUDA kernels, a library of its own, so
that nobody who stays on the CPU waits for nvcc or needs it. The first call on a machine compiles
the sources; later processes load the libraries cached in ``$SPION_BENCH_CACHE``
(``~/.cache/spion_bench``) in milliseconds.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from spion_bench.native.build import BuildError, BuildInfo, load_library
from spion_bench.native.cuda import cuda_recipe

__all__ = ["BuildError", "BuildInfo", "load_library"]  # and what is defined here

LIBRARY = "spion_bench"
CUDA_LIBRARY = "spion_bench_cuda"

_state_lock = threading.RLock()
_loaded: dict[str, BuildInfo] = {}
_failed: dict[str, BuildError] = {}
_after_load: list[Callable[[], None]] = []
cpu_refusal: str | None = None  # why no CPU operator may run now; set by native.backends


def after_load(register: Callable[[], None]) -> Callable[[], None]:
    """Run ``register`` once the library is loaded: now if it is, else at the end of ``load()``.

    The operators' files decorate their registrations (fake kernel, autograd, autocast) with it.
    """
    with _state_lock:
        if "cpu" in _loaded:
            register()
        else:
            _after_load.append(register)
    return register


def load(device: Literal["cpu", "cuda"] = "cpu") -> None:
    """Make ``torch.ops.spion_bench`` usable: build if needed, load, register; once per process.

    Args:
        device: Type of the device whose tensors the operators are to take; CPU tensors always are
            taken.

    Raises:
        BuildError: If it cannot be built; later calls raise the same error without another try.
        ValueError: If ``device`` is neither. RuntimeError: Inside another backend's block.
    """
    if cpu_refusal is not None:
        raise RuntimeError(cpu_refusal)
    if device in _loaded:
        return
    if device not in ("cpu", "cuda"):
        raise ValueError(f'device: expected "cpu" or "cuda", got {device!r}')
    with _state_lock:
        if device in _failed:
            raise _failed[device]
        if device in _loaded:  # by another thread meanwhile
            return
        try:
            _loaded[device] = _load_cpu() if device == "cpu" else _load_cuda()
        except BuildError as error:
            _failed[device] = error
            raise


# torch.compiler.assume_constant_result without its import of torch._dynamo, more than a second.
vars(load)["_dynamo_marked_constant"] = True


def _load_cpu() -> BuildInfo:
    info = load_library(LIBRARY, source_dir(), cache_root())
    while _after_load:
        _after_load.pop(0)()
    return info


def _load_cuda() -> BuildInfo:
    recipe = cuda_recipe()
    load()  # its schemas
    return load_library(CUDA_LIBRARY, source_dir() / "cuda", cache_root(), recipe)


def build_info(device: Literal["cpu", "cuda"] = "cpu") -> BuildInfo:
    """Return how the loaded library of a device type came to be; loads it first if needed."""
    load(device)
    return _loaded[device]


def cache_root() -> Path:
    """Return the folder of built libraries: ``$SPION_BENCH_CACHE`` or ``~/.cache/spion_bench``."""
    configured = os.environ.get("SPION_BENCH_CACHE")
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "spion_bench"


def source_dir() -> Path:
    """Return ``csrc``: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "csrc", package.parent / "csrc"):
        if (folder / "schema.cpp").is_file():
            return folder
    raise BuildError(
        f"csrc: the C++ sources lie neither in {package} nor beside it; reinstall spion_bench"
    )
