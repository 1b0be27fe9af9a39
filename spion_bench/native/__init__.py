"""Builds and loads the compiled kernels of ``csrc``."""

from spion_bench.native.library import use_backend

__all__ = ["use_backend"]
