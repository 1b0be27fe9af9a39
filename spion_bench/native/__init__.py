"""Builds and loads the compiled kernels of csrc."""
