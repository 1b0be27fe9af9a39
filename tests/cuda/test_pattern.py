"""The pattern operators' emulated tests, on a GPU."""

from tests.emulation.test_pattern import *  # noqa: F403
from tests.emulation.test_pattern import _emulated, _nan_in_uninitialised_memory  # noqa: F401
