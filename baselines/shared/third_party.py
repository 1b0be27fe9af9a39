"""Running third-party modules: behind a fence around random states, named if absent."""

from __future__ import annotations

import importlib
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import torch

from spion_bench.model.attention import UnavailableError


@contextmanager
def rng_fence() -> Iterator[None]:
    """Restore the global random states of torch (CPU and CUDA), NumPy and Python afterwards.

    Some third-party modules reseed them in every forward pass, which would change what the rest of
    the training draws.
    """
    devices: Iterable[int] = ()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        devices = range(torch.cuda.device_count())
    numpy_state, python_state = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)


def load_optional(module: str, *, extra: str) -> ModuleType:
    """Import a module of a package that only an extra of the suite installs.

    Args:
        module: Dotted name; its first part is the package.
        extra: The extra that installs the package.

    Raises:
        UnavailableError: If the package is not installed, with the command that installs it.
    """
    package = module.partition(".")[0]
    try:
        with rng_fence():
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise UnavailableError(
            f"{package} is not installed; pip install 'spion_bench[{extra}]'"
        ) from error
