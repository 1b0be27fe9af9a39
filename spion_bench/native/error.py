"""The error of everything that keeps the kernels from being built or loaded."""


class BuildError(RuntimeError):
    """The kernels could not be built; the message says why and what to do."""
